"""What every test gets: markers checked, lost failures found, clients required."""

from __future__ import annotations

import gc
import os
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

REQUIREMENTS = Path(__file__).parents[1] / "docs" / "conformance" / "requirements.toml"
MOST_IDS_A_MARK = 3
LATE_TIERS = ("interop", "robustness")

hypothesis.settings.register_profile(
    "ci", derandomize=True, deadline=None, print_blob=True
)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=50)
hypothesis.settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "quick")
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak",
        action="store_true",
        help="run the robustness tests at ten times their length",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse marks that name no requirement; put the long tiers last."""
    known = _known_requirements()
    faults = [
        f"{item.nodeid}: {fault}"
        for item in items
        for mark in item.iter_markers("requirement")
        for fault in _faults(mark, known)
    ]
    if faults:
        raise pytest.UsageError("\n".join(sorted(set(faults))))
    items.sort(key=_tier)


def pytest_collection_finish() -> None:
    """Keep what was imported out of the collections that follow every test."""
    gc.collect()
    gc.freeze()


def _known_requirements() -> frozenset[str]:
    with REQUIREMENTS.open("rb") as file:
        return frozenset(tomllib.load(file)["requirement"])


def _faults(mark: pytest.Mark, known: frozenset[str]) -> Iterator[str]:
    if mark.kwargs or not 1 <= len(mark.args) <= MOST_IDS_A_MARK:
        yield f"a requirement mark names one to {MOST_IDS_A_MARK} ids"
    for name in mark.args:
        if name not in known:
            yield f"{name!r} is not in {REQUIREMENTS.name}"


def _tier(item: pytest.Item) -> int:
    return max(
        (
            rank
            for rank, name in enumerate(LATE_TIERS, 1)
            if item.get_closest_marker(name)
        ),
        default=0,
    )


@pytest.fixture(autouse=True)
def no_lost_failure() -> Iterator[None]:
    """Fail the test whose Deferred failed with nobody listening."""
    lost: list[str] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_namespace") == "twisted.internet.defer" and event.get(
            "log_failure"
        ):
            lost.append(event["log_failure"].getTraceback())

    globalLogPublisher.addObserver(observe)
    try:
        yield
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(observe)
    assert not lost, "Unhandled error in Deferred:\n" + "\n".join(lost)


def require_client(name: str) -> str:
    """Find a client program of the interoperation tests.

    :param name: the program, as it is called in a shell.
    :return: its absolute path. Without it the test is skipped, and fails where
        ``CI`` is set: there a missing client is a gap in the machine.
    """
    path = shutil.which(name)
    if path is None:
        reason = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(name="require_client", scope="session")
def require_client_fixture() -> Any:
    """Give ``require_client`` to tests, which do not import conftest."""
    return require_client


@pytest.fixture
def soak_factor(request: pytest.FixtureRequest) -> int:
    """Say how many times its ordinary length a robustness test runs."""
    return 10 if request.config.getoption("--soak") else 1
