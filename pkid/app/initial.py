"""``pkid init``: from try-out to production, by editing the configuration file.

The file is edited line by line, so that comments and order stay as they are.

**Source:** DESIGN section 7; ENG-50.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Final

from pkid.app.config import built_in_text, decode_configuration
from pkid.app.kinds import quote
from pkid.app.readings import refuse
from pkid.app.resources import CONFIGURATION_FILE
from pkid.app.settings import Configuration
from pkid.storage.directory import make_private_directory, write_atomically

_HEADER: Final = re.compile(r"^\s*\[")
_HOST: Final = re.compile(
    r"(?=.{1,253}$)(?!-)[A-Za-z0-9-]{1,63}(\.(?!-)[A-Za-z0-9-]{1,63})*"
)
_HTTP_PORT: Final = 80


def initialise(state: Path, *, hostname: str, listen: str) -> Configuration:
    """Set ``public_url`` and where listeners listen.

    :param hostname: name or address that clients know this host by.
    :param listen: IP address for every TCP listener; "" leaves them.
    :returns: the new configuration, which is on disk.
    :raises PKIError: ``BAD_REQUEST`` for a bad name or address.
    :raises ConfigurationError: the file has faults already.
    """
    _check(hostname, listen)
    make_private_directory(state)
    path = state / CONFIGURATION_FILE
    text = path.read_text("utf-8") if path.exists() else built_in_text()
    configuration = decode_configuration(text, source=str(path))
    changed = set_key(
        text, "", "public_url", quote(_public_url(configuration, hostname))
    )
    for name, listener in configuration.listeners.items():
        if listen and listener.endpoint.scheme in {"tcp", "tcp6"}:
            endpoint = quote(listener.endpoint.listening_on(listen))
            changed = set_key(changed, f"listener.{name}", "endpoint", endpoint)
    after = decode_configuration(changed, source=str(path))
    write_atomically(path, changed.encode())
    return after


def set_key(text: str, table: str, key: str, value: str) -> str:
    """The text with one key of one table set.

    :param table: dotted; "" for the top of the file.
    :param value: TOML text, on one line.
    """
    lines = text.splitlines()
    start, end = _region(lines, table)
    if start < 0:
        return f"{text.rstrip()}\n\n[{table}]\n{key} = {value}\n"
    given = re.compile(rf"^\s*{re.escape(key)}\s*=")
    commented = re.compile(rf"^# {re.escape(key)} =")
    for pattern in (given, commented):
        for index in range(start, end):
            if pattern.match(lines[index]):
                lines[index] = f"{key} = {value}"
                return "\n".join(lines) + "\n"
    lines.insert(start, f"{key} = {value}")
    return "\n".join(lines) + "\n"


def _region(lines: list[str], table: str) -> tuple[int, int]:
    """Lines of a table, without its header; (-1, -1) when it is not there."""
    start = 0
    if table:
        headers = [index for index, line in enumerate(lines) if _names(line, table)]
        if not headers:
            return -1, -1
        start = headers[0] + 1
    for index in range(start, len(lines)):
        if _HEADER.match(lines[index]):
            return start, index
    return start, len(lines)


def _names(line: str, table: str) -> bool:
    header = line.partition("#")[0].strip()
    return header.replace('"', "").replace(" ", "") == f"[{table}]"


def _check(hostname: str, listen: str) -> None:
    if not (_HOST.fullmatch(hostname) or _is_address(hostname)):
        raise refuse("the host name is no host name", "like ca.example.com")
    if listen and not _is_address(listen):
        raise refuse("the address to listen on is no IP address", "like 0.0.0.0")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _public_url(configuration: Configuration, hostname: str) -> str:
    """By the first plain HTTP listener that serves CRLs: certificates name its port."""
    host = f"[{hostname}]" if ":" in hostname else hostname
    for listener in configuration.listeners.values():
        port = listener.endpoint.port
        if "status" in listener.serves and not listener.tls and port:
            return f"http://{host}" + ("" if port == _HTTP_PORT else f":{port}")
    return f"http://{host}"
