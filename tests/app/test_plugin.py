from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.python.usage import Options, UsageError

from pkid.app import floors
from pkid.app.options import DaemonOptions
from pkid.app.places import default_state
from pkid.app.service import PKIDService
from pkid.app.tap import makeService


class TwistdOptions(Options):
    """What of twistd's options ours look at."""

    def __init__(self, **given: Any) -> None:
        super().__init__()
        self.update({"logfile": None, "nodaemon": True, "pidfile": "twistd.pid"})
        self.update(given)


def options(*arguments: str, **twistd: Any) -> DaemonOptions:
    found = DaemonOptions()
    found.parent = TwistdOptions(**twistd)
    found.parseOptions(list(arguments))
    return found


def test_twistd_finds_one_service_maker() -> None:
    found = [one for one in getPlugins(IServiceMaker) if one.tapname == "pkid"]
    assert [one.module for one in found] == ["pkid.app.tap"]
    assert found[0].options is DaemonOptions


def test_there_is_no_package_file_beside_the_plugin() -> None:
    folder = Path(__file__).parents[2] / "twisted"
    assert [path.name for path in folder.rglob("*.py")] == ["pkid_plugin.py"]


def test_the_state_directory_is_systemd_s_or_one_here(tmp_path: Path) -> None:
    assert default_state({}) == Path("pkid-state")
    assert default_state({"STATE_DIRECTORY": "/var/lib/pkid:/x"}) == Path(
        "/var/lib/pkid"
    )
    assert options("--state", str(tmp_path)).state == tmp_path


def test_the_configuration_is_that_of_the_state_directory(tmp_path: Path) -> None:
    found = options("--state", str(tmp_path))
    assert found.configuration is None
    (tmp_path / "pkid.conf").write_text("")
    assert found.configuration == tmp_path / "pkid.conf"
    other = options("--state", str(tmp_path), "--config", "/etc/other.conf")
    assert other.configuration == Path("/etc/other.conf")


def test_settings_keep_their_order() -> None:
    assert options("--set", "a=1", "--set", "b=2").settings == ["a=1", "b=2"]
    with pytest.raises(UsageError):
        options("--sett", "a=1")


def test_no_pid_file_in_the_foreground() -> None:
    assert options().parent["pidfile"] == ""
    assert options(pidfile="/run/pkid.pid").parent["pidfile"] == "/run/pkid.pid"
    assert options(nodaemon=False).parent["pidfile"] == "twistd.pid"


def test_the_log_goes_where_twistd_was_told() -> None:
    assert options().log_file == ""
    assert options(logfile="/var/log/x").log_file == "/var/log/x"
    assert options(nodaemon=False).log_file == "twistd.log"


def test_making_the_service_touches_no_file(tmp_path: Path) -> None:
    service = makeService(options("--state", str(tmp_path / "state")))
    assert isinstance(service, PKIDService)
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_with_faults_ends_with_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "pkid.conf").write_text('nonsense = 1\n[log]\nlevel = "x"\n')
    with pytest.raises(SystemExit) as end:
        makeService(options("--state", str(tmp_path)))
    text = str(end.value)
    assert "2 faults" in text
    assert "nonsense" in text
    assert "log.level" in text


@pytest.mark.requirement("FLT-12")
def test_timers_do_not_follow_the_wall_clock() -> None:
    import time

    from twisted.internet import reactor

    makeService(options("--state", "/nowhere"))
    assert reactor.seconds is time.monotonic


@pytest.mark.requirement("SEC-110")
@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("twisted", "26.3.1"),
        ("twisted", "24.11.0"),
        ("cryptography", "49.0.9"),
        ("pyopenssl", "26.0.0"),
        ("pyasn1", "0.6.3"),
        ("pyasn1", "0.4.8"),
    ],
)
def test_an_old_dependency_is_refused(
    package: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = dict.fromkeys(floors.FLOORS, "99.0")
    found = list(floors.too_old({**real, package: version}.__getitem__))
    assert len(found) == 1
    assert package in found[0]
    monkeypatch.setattr("pkid.app.tap.too_old", lambda: found)
    with pytest.raises(SystemExit, match="known vulnerabilities"):
        makeService(options("--state", "/nowhere"))


def test_what_is_installed_is_new_enough() -> None:
    assert list(floors.too_old()) == []


@pytest.mark.parametrize("text", ["26.4.0", "26.4", "26.4.0rc1", "27", "26.10.0.post1"])
def test_versions_of_all_forms_are_compared(text: str) -> None:
    newest = dict.fromkeys(floors.FLOORS, "99")
    assert list(floors.too_old({**newest, "twisted": text}.__getitem__)) == []


def test_nothing_of_the_app_is_imported_before_it_is_chosen() -> None:
    import subprocess

    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from twisted.plugin import getPlugins;"
            "from twisted.application.service import IServiceMaker;"
            "list(getPlugins(IServiceMaker));"
            "sys.exit('pkid.app.tap' in sys.modules)",
        ],
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=60,
    )
    assert done.returncode == 0
