"""Endpoint strings of listeners: checked without opening anything.

They are Twisted's (``tcp:8829:interface=127.0.0.1``, ``unix:/run/pkid.sock``,
``systemd:domain=INET:name=cmp``). TLS is a key of the listener, not of the endpoint.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from pkid.app.kinds import Refused, suggestion

SCHEMES: Final = ("tcp", "tcp6", "unix", "systemd")
_ESCAPED: Final = re.compile(r"\\(.)")
_KEYS: Final = {
    "tcp": {"port", "interface", "backlog"},
    "tcp6": {"port", "interface", "backlog"},
    "unix": {"address", "mode", "backlog", "lockfile"},
    "systemd": {"domain", "index", "name"},
}
# Twisted's own 50 is soon full when a site comes back from a power cut: who is turned
# away then tries again after a second, then after three. The kernel has its own limit.
_BACKLOG: Final = "1024"
_FIRST: Final = {"tcp": "port", "tcp6": "port", "unix": "address"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint string, taken apart.

    :ivar text: as written.
    :ivar arguments: by name; the unnamed first one under its name.
    """

    text: str
    scheme: str
    arguments: dict[str, str]

    @property
    def beyond_loopback(self) -> bool:
        """Whether other hosts can reach it; an inherited socket counts as such."""
        if self.scheme == "unix":
            return False
        if self.scheme not in {"tcp", "tcp6"}:
            return True
        interface = self.arguments.get("interface", "")
        if interface == "localhost":
            return False
        try:
            return not ipaddress.ip_address(interface).is_loopback
        except ValueError:
            return True

    @property
    def listening_text(self) -> str:
        """The text to listen with: room for a thousand who connect at once."""
        if self.scheme == "systemd" or "backlog" in self.arguments:
            return self.text
        return f"{self.text}:backlog={_BACKLOG}"

    @property
    def port(self) -> int | None:
        """The TCP port, when the text says one."""
        port = self.arguments.get("port")
        return int(port) if port is not None and port.isascii() else None

    def listening_on(self, interface: str) -> str:
        """The text of the same TCP endpoint on another address."""
        others = [
            f"{name}={_escape(value)}"
            for name, value in self.arguments.items()
            if name not in {"port", "interface"}
        ]
        scheme = "tcp6" if ":" in interface else "tcp"
        place = f"interface={_escape(interface)}"
        return ":".join([scheme, str(self.port), place, *others])


def decode_endpoint(text: str) -> Endpoint:
    """Take an endpoint string apart.

    :raises Refused: with what is wrong.
    """
    pieces = _split(text)
    scheme = pieces[0]
    if scheme == "ssl":
        message = "cannot be ssl: write tcp and set tls = true"
        raise Refused(message)
    if scheme not in SCHEMES:
        message = (
            f"must begin with one of {', '.join(SCHEMES)}{suggestion(scheme, SCHEMES)}"
        )
        raise Refused(message)
    arguments = _arguments(scheme, pieces[1:])
    _check(scheme, arguments)
    return Endpoint(text, scheme, arguments)


def _escape(text: str) -> str:
    return re.sub(r"([:\\=])", r"\\\1", text)


def _split(text: str) -> list[str]:
    """Pieces between colons that are not escaped."""
    pieces = [""]
    position = 0
    while position < len(text):
        if text[position] == ":":
            pieces.append("")
        elif text[position] == "\\":
            pieces[-1] += text[position : position + 2]
            position += 1
        else:
            pieces[-1] += text[position]
        position += 1
    return pieces


def _arguments(scheme: str, pieces: list[str]) -> dict[str, str]:
    arguments: dict[str, str] = {}
    for index, piece in enumerate(pieces):
        name, equals, value = piece.partition("=")
        if not equals:
            first = _FIRST.get(scheme)
            if index or first is None:
                message = f"has a part without '=': {piece}"
                raise Refused(message)
            name, value = first, piece
        if name not in _KEYS[scheme]:
            known = sorted(_KEYS[scheme])
            message = f"has an unknown part {name}{suggestion(name, known)}"
            raise Refused(message)
        arguments[name] = _ESCAPED.sub(r"\1", value)
    return arguments


def _check(scheme: str, arguments: dict[str, str]) -> None:
    if scheme in {"tcp", "tcp6"}:
        port = arguments.get("port", "")
        if not (port.isascii() and port.isdigit() and int(port) <= 65535):
            message = "needs a port from 0 to 65535, like tcp:8829:interface=127.0.0.1"
            raise Refused(message)
        _check_interface(scheme, arguments.get("interface", ""))
    if scheme == "unix" and not arguments.get("address"):
        message = "needs a path, like unix:/run/pkid.sock"
        raise Refused(message)
    if scheme == "systemd" and len({"index", "name"} & set(arguments)) != 1:
        message = "needs name= or index=, like systemd:domain=INET:name=cmp"
        raise Refused(message)
    if scheme == "systemd" and arguments.get("domain") not in {
        "INET",
        "INET6",
        "UNIX",
    }:
        message = "needs domain=INET, INET6 or UNIX"
        raise Refused(message)


def _check_interface(scheme: str, interface: str) -> None:
    if interface in {"", "localhost"}:
        return
    try:
        version = ipaddress.ip_address(interface).version
    except ValueError:
        message = f"has no IP address as interface: {interface}"
        raise Refused(message) from None
    if scheme == "tcp" and version == 6:
        message = "has an IPv6 address: write tcp6 and escape its colons with \\"
        raise Refused(message)
