"""Heads of HTTP messages: what a client's connection wishes, and how we answer."""

from __future__ import annotations

from http import HTTPStatus

from pkid.responders.base import Reply

#: Statuses whose responses have no body and no length.
BODILESS = frozenset({204, 304})

_BREAKS = str.maketrans("\r\n\0", "   ")


def _status_line(status: int, phrase: str) -> str:
    return f" {status} {phrase}\r\nServer: pkid\r\nDate: "


_STATUS_LINES = {
    status.value: _status_line(status.value, status.phrase) for status in HTTPStatus
}


def text_reply(status: int, text: str, *headers: tuple[str, str]) -> Reply:
    """Make a short plain answer of the transport's own."""
    return Reply(
        status=status,
        content_type="text/plain",
        body=f"{text}\n".encode(),
        headers=headers,
    )


def is_persistent(headers: dict[str, str], *, current: bool) -> bool:
    """Say whether the client wants the connection to stay open.

    :param headers: of the request, names in lower case.
    :param current: whether the request is HTTP/1.1, and not 1.0.

    **Source:** RFC 9112 section 9.3; OpenSSL 3.0 sends HTTP/1.0 and asks
    for keep-alive when more messages of a transaction will follow.
    """
    connection = headers.get("connection")
    if connection is None:
        return current
    options = [option.strip() for option in connection.lower().split(",")]
    return "close" not in options and (current or "keep-alive" in options)


def response_head(reply: Reply, version: str, date: str, *, persistent: bool) -> bytes:
    """Write the head of a response, with a length and never chunked.

    :param version: the client's own, which old clients insist on.
    :param date: value of the Date header.
    :param persistent: whether the connection stays open.
    """
    status = reply.status
    line = _STATUS_LINES.get(status) or _status_line(status, "Status")
    head = f"{version}{line}{date}\r\n"
    if status not in BODILESS:
        head += f"Content-Length: {len(reply.body)}\r\n"
        if reply.body:
            head += f"Content-Type: {reply.content_type.translate(_BREAKS)}\r\n"
    for name, value in reply.headers:
        # A line break would begin another header, or another response.
        head += f"{name}: {value}".translate(_BREAKS) + "\r\n"
    if not persistent:
        head += "Connection: close\r\n\r\n"
    elif version == "HTTP/1.0":
        head += "Connection: keep-alive\r\n\r\n"
    else:
        head += "\r\n"
    return head.encode("latin-1", "replace")
