"""The log: one JSON object a line, or one line of text on a terminal.

Fields of an event become fields of the object. Nothing that a client sent can forge a
line or drive a terminal, because everything outside printable ASCII is escaped; octets
and unknown objects are never written out, so that no secret or key slips through.

**Source:** SEC-93, SEC-106; FLT-24.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Final, Protocol, TextIO, cast

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from pkid.app.escaping import escape

LOG_FILE_MODE: Final = 0o600
MAX_TEXT: Final = 4096
MAX_TRACEBACK: Final = 16384
LEVELS: Final = {
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "error": LogLevel.error,
}
_RANK: Final = {level: rank for rank, level in enumerate(LogLevel.iterconstants())}
_FIELDS_OF_TWISTED: Final = frozenset(
    ("format", "isError", "message", "time", "system", "failure", "why", "printed")
)


class Sink(Protocol):
    """Takes finished lines."""

    def write(self, line: str) -> None:
        """Take one line with its end; never raises for a full disk."""
        ...


class StreamSink:
    """A stream, kept as it is now: twistd turns ``sys.stdout`` into the log itself."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        """Write and flush; a closed stream swallows it."""
        try:
            self._stream.write(line)
            self._stream.flush()
        except (OSError, ValueError):
            return


class FileSink:
    """A file that any rotation may rename, truncate or remove.

    :param path: absolute; opened at the first line and whenever it is no longer the
        file that we have open, which is looked at once a second at most.
    :param seconds: monotonic time.
    """

    LOOK_SECONDS = 1.0

    def __init__(self, path: Path, seconds: Callable[[], float]) -> None:
        self._path = path
        self._seconds = seconds
        self._descriptor: int | None = None
        self._look_at = 0.0

    def write(self, line: str) -> None:
        """Append a line; when that is not possible it is lost, the daemon goes on."""
        try:
            os.write(self._opened(), line.encode("ascii", "backslashreplace"))
        except OSError:
            self._close()

    def _opened(self) -> int:
        now = self._seconds()
        if self._descriptor is not None and now >= self._look_at:
            self._look_at = now + self.LOOK_SECONDS
            if self._moved(self._descriptor):
                self._close()
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, LOG_FILE_MODE)
            self._look_at = now + self.LOOK_SECONDS
        return self._descriptor

    def _moved(self, descriptor: int) -> bool:
        try:
            return not os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return True

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


@implementer(ILogObserver)
class LineObserver:
    """Writes events as lines.

    :param level: least level, one of `LEVELS`; may be changed while running.
    :param encode: gives the line of an event.
    """

    def __init__(
        self, sink: Sink, *, level: str, encode: Callable[[LogEvent], str]
    ) -> None:
        self._sink = sink
        self._encode = encode
        self.level = level

    def __call__(self, event: LogEvent) -> None:
        """Write one event unless its level is too low."""
        level = event.get("log_level", LogLevel.info)
        if _RANK.get(level, 0) >= _RANK[LEVELS[self.level]]:
            self._sink.write(self._encode(event))


def encode_json(event: LogEvent) -> str:
    """One JSON object on one line."""
    line: dict[str, object] = {
        "time": _time_of(event),
        "level": _level_of(event),
        "source": event.get("log_namespace", ""),
        "message": message_of(event)[:MAX_TEXT],
    }
    for name, value in event.items():
        if name[:4] != "log_" and name not in _FIELDS_OF_TWISTED:
            line.setdefault(name, plain(value))
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        line["traceback"] = failure.getTraceback()[-MAX_TRACEBACK:]
    return json.dumps(line) + "\n"


def message_of(event: LogEvent) -> str:
    """The text of an event, as `formatEvent` gives it.

    Twisted's formatter reads the format anew for each event and looks for calls in it:
    that takes longer than all else about a line. Where texts simply stand between
    texts, which is so in the line of an exchange, they are joined here.
    """
    form = event.get("log_format")
    layout = _layout(form) if type(form) is str else None
    if layout is not None:
        pattern, names = layout
        values = tuple([event.get(name) for name in names])
        if all([type(value) is str for value in values]):  # noqa: C419  twice as fast
            return pattern % values
    return formatEvent(event)


@lru_cache(maxsize=256)
def _layout(form: str) -> tuple[str, tuple[str, ...]] | None:
    """A format as a pattern for ``%`` and the fields in it; None when it asks more."""
    pattern, names = "", []
    try:
        for text, name, specification, conversion in Formatter().parse(form):
            pattern += text.replace("%", "%%")
            if name is None:
                continue
            if specification or conversion or not name.isidentifier():
                return None
            pattern += "%s"
            names.append(name)
    except ValueError:
        return None
    return pattern, tuple(names)


def encode_text(event: LogEvent) -> str:
    """One line for people; a traceback follows on lines of its own."""
    message = escape(message_of(event)[:MAX_TEXT])
    line = f"{_time_of(event)[:19]} {_level_of(event):8} {message}\n"
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        trace = failure.getTraceback()[-MAX_TRACEBACK:]
        line += "".join(f"  {escape(part)}\n" for part in trace.splitlines())
    return line


def plain(value: object) -> object:
    """What may stand in a log of any value: never octets, never an unknown object."""
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} octets>"
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    return f"<{type(value).__name__}>"


def _time_of(event: LogEvent) -> str:
    moment = datetime.fromtimestamp(cast(float, event["log_time"]), UTC)
    return moment.isoformat(timespec="milliseconds")


def _level_of(event: LogEvent) -> str:
    level = event.get("log_level")
    return level.name if level is not None else "info"


def make_observer(
    *, file: str, level: str, form: str, seconds: Callable[[], float]
) -> LineObserver:
    """The observer that the configuration asks for.

    :param file: path; "" or "-" is standard output.
    :param form: "json", "text", or "auto": text on a terminal.
    """
    standard = file in {"", "-"}
    if form == "auto":
        form = "text" if standard and sys.stdout.isatty() else "json"
    sink: Sink = (
        StreamSink(sys.stdout) if standard else FileSink(Path(file).absolute(), seconds)
    )
    encode = encode_text if form == "text" else encode_json
    return LineObserver(sink, level=level, encode=encode)
