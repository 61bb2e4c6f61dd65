"""Publishers of the configuration: what they name is read, or said to be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pkid.app.config import load_configuration
from pkid.app.kinds import ConfigurationError
from pkid.app.publishers import Publishers, read_publishers
from tests.engine.world import TurnedClock


def configured(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "pkid.conf"
    path.write_text(text)
    return load_configuration(path, ())


HOOK = """
[publisher.hook]
url = "https://files.example.com/pkid"
secret = "env:HOOK"
"""


@pytest.mark.requirement("ENG-34")
def test_a_publisher_finds_its_place_by_its_name(tmp_path: Path) -> None:
    found = read_publishers(
        configured(tmp_path, HOOK), base=tmp_path, environment={"HOOK": "secret"}
    )
    assert found["hook"].secret == b"secret"
    assert "secret" not in repr(found["hook"]).replace("secret='env:HOOK'", "")
    publishers = Publishers(object(), TurnedClock(), object(), lambda: found)  # type: ignore[arg-type]
    assert publishers.names() == ("directory", "webhook:hook")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (HOOK, "publisher.hook.secret"),
        (
            '[publisher.hook]\nurl = "https://x.example/"\nauthorities = "no.pem"\n',
            "publisher.hook.authorities",
        ),
    ],
)
def test_what_cannot_be_read_is_a_fault(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_publishers(configured(tmp_path, text), base=tmp_path, environment={})
    assert [fault.where for fault in caught.value.faults] == [where]
