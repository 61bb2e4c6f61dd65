from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, formatEvent
from twisted.python.failure import Failure

from pkid.app.escaping import escape
from pkid.app.logging import (
    FileSink,
    LineObserver,
    encode_json,
    encode_text,
    make_observer,
    message_of,
    plain,
)
from pkid.keys.secrets import Secret


class Kept:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)


def logged(form: Any, template: str, **fields: Any) -> str:
    sink = Kept()
    observer = LineObserver(sink, level="debug", encode=form)
    Logger("pkid.test", observer=observer).info(template, **fields)
    return sink.lines[0]


def test_a_line_is_one_json_object_with_the_event_s_fields() -> None:
    line = logged(encode_json, "enrolled {subject}", subject="CN=a", count=3)
    found = json.loads(line)
    assert found["message"] == "enrolled CN=a"
    assert (found["subject"], found["count"], found["level"]) == ("CN=a", 3, "info")
    assert found["source"] == "pkid.test"
    assert found["time"].endswith("+00:00")


@given(
    template=st.sampled_from(
        (
            "cmp {alias} from {peer}: 100 % {{done}}",
            "{alias!r} and {peer:>20}",
            "{count} of {alias}",
            "{call()} {missing}",
            "{alias.real} {0} {",
            "nothing to fill in",
        )
    ),
    alias=st.text(),
)
def test_a_message_reads_as_twisted_would_write_it(template: str, alias: str) -> None:
    fields = {"alias": alias, "peer": "a%sb{c}", "count": 3, "call": lambda: "called"}
    event = {"log_format": template, **fields}
    assert message_of(event) == formatEvent(event)


@pytest.mark.requirement("SEC-93")
@pytest.mark.parametrize("form", [encode_json, encode_text])
@given(text=st.text())
def test_no_text_forges_a_line_or_drives_a_terminal(form: Any, text: str) -> None:
    line = logged(form, "{text}", text=text)
    assert line.endswith("\n")
    body = line[:-1]
    assert body.isascii()
    assert body.isprintable()


@given(st.text(), st.binary())
def test_escape_leaves_printable_ascii_only(text: str, octets: bytes) -> None:
    assert escape(text).isascii()
    assert escape(text).isprintable() or not escape(text)
    assert escape(octets.decode("latin-1")).isprintable() or not octets


def test_octets_and_secrets_never_reach_the_log() -> None:
    canary = b"canary-canary"
    line = logged(
        encode_json,
        "{secret} {raw}",
        secret=Secret(canary),
        raw=plain(canary),
        octets=canary,
        many=[canary, Secret(canary)],
        thing=object(),
    )
    assert "canary" not in line
    assert json.loads(line)["octets"] == "<13 octets>"


def test_a_failure_brings_its_traceback() -> None:
    sink = Kept()
    observer = LineObserver(sink, level="info", encode=encode_json)
    log = Logger("pkid.test", observer=observer)
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        log.failure("it failed", failure=Failure())
    found = json.loads(sink.lines[0])
    assert "RuntimeError: broken" in found["traceback"]
    assert found["level"] == "critical"


@pytest.mark.parametrize(
    ("level", "count"), [("debug", 4), ("info", 3), ("warn", 2), ("error", 1)]
)
def test_what_is_below_the_level_is_not_written(level: str, count: int) -> None:
    sink = Kept()
    observer = LineObserver(sink, level=level, encode=encode_text)
    log = Logger("pkid.test", observer=observer)
    for one in (LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error):
        log.emit(one, "x")
    assert len(sink.lines) == count


def sink_on(path: Path) -> tuple[FileSink, Clock]:
    clock = Clock()
    return FileSink(path, clock.seconds), clock


def test_a_log_file_is_the_owner_s_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        sink, _ = sink_on(tmp_path / "log")
        sink.write("x\n")
    finally:
        os.umask(before)
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_renamed_file_is_opened_again(tmp_path: Path) -> None:
    sink, clock = sink_on(tmp_path / "log")
    sink.write("one\n")
    (tmp_path / "log").rename(tmp_path / "log.1")
    clock.advance(2)
    sink.write("two\n")
    assert (tmp_path / "log.1").read_text() == "one\n"
    assert (tmp_path / "log").read_text() == "two\n"


def test_a_truncated_file_goes_on_from_its_begin(tmp_path: Path) -> None:
    sink, clock = sink_on(tmp_path / "log")
    sink.write("one\n")
    os.truncate(tmp_path / "log", 0)
    clock.advance(2)
    sink.write("two\n")
    assert (tmp_path / "log").read_text() == "two\n"


def test_a_directory_that_vanished_loses_lines_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    sink, clock = sink_on(folder / "log")
    sink.write("one\n")
    (folder / "log").unlink()
    folder.rmdir()
    clock.advance(2)
    sink.write("lost\n")
    folder.mkdir()
    sink.write("two\n")
    assert (folder / "log").read_text() == "two\n"


def test_no_terminal_means_json(tmp_path: Path) -> None:
    observer = make_observer(
        file=str(tmp_path / "log"), level="info", form="auto", seconds=Clock().seconds
    )
    Logger("pkid.test", observer=observer).info("hello")
    assert json.loads((tmp_path / "log").read_text())["message"] == "hello"
