"""What is shipped is whole, and what is installed is found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.project.sources import ROOT

SHIPPED = (
    ".ci", "LICENSE", "MANIFEST.in", "Makefile", "NEWS.md", "README.md", "benchmarks",
    "changes", "docs", "etc", "pkid", "pyproject.toml", "setup.cfg", "tests", "twisted",
)  # fmt: skip
LIST_PLUGINS = """
import sys
sys.path[:] = [sys.argv[1]] + [p for p in sys.path if p != sys.argv[2]]
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
print(*sorted(plugin.tapname for plugin in getPlugins(IServiceMaker)))
"""


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build wheel and source archive from a copy, so that the tree stays clean."""
    copy = tmp_path_factory.mktemp("project")
    litter = shutil.ignore_patterns("__pycache__", "dropin.cache", "*.egg-info")
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=litter)
        else:
            shutil.copy(ROOT / name, copy / name)
    made = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(made)]
    run = subprocess.run(
        [*command, str(copy)], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return made


@pytest.fixture(scope="module")
def wheel(archives: Path) -> Path:
    (found,) = archives.glob("*.whl")
    return found


def test_the_wheel_carries_every_file_of_the_package(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "pkid").rglob("*")
        if path.suffix in {".py", ".sql", ".conf"} or path.name == "py.typed"
    }
    assert wanted - names == set()


def test_the_wheel_carries_plugin_and_configuration(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "twisted/plugins/pkid_plugin.py" in names
    assert any(name.endswith("data/share/pkid/pkid.conf") for name in names)


def test_the_wheel_carries_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert [
        n for n in names if not n.startswith(("pkid", "twisted/plugins/pkid_"))
    ] == []


def test_twisteds_own_packages_are_not_shadowed() -> None:
    assert not (ROOT / "twisted" / "__init__.py").exists()
    assert not (ROOT / "twisted" / "plugins" / "__init__.py").exists()


def test_an_installed_wheel_gives_twistd_the_plugin(
    wheel: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", LIST_PLUGINS, str(tmp_path), str(ROOT)],
        capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )  # fmt: skip
    assert "pkid" in run.stdout.split(), run.stderr


def test_the_source_archive_can_be_tested_and_read(archives: Path) -> None:
    (found,) = archives.glob("*.tar.gz")
    with tarfile.open(found) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        "setup.cfg", "Makefile", "LICENSE", ".ci/run", "etc/pkid.conf",
        "tests/conftest.py", "docs/index.md", "docs/conformance/requirements.toml",
    }  # fmt: skip
    assert wanted - names == set()
