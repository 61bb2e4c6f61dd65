"""Commands about what was asked and issued: requests and certificates."""

from __future__ import annotations

import base64
from argparse import Namespace
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate

from pkid.app.clioctets import DER, OUT, decoded, without, write
from pkid.app.commands import Command, Tool, argument
from pkid.app.readings import STATUSES
from pkid.app.resources import REASONS


def list_requests(tool: Tool, given: Namespace) -> int:
    """Requests that wait, or all."""
    status = "" if given.all else "waiting"
    columns = ("id", "status", "subject", "requester", "rule", "created", "expires")
    return tool.table(tool.daemon.read("requests", {"status": status}), columns)


def show_request(tool: Tool, given: Namespace) -> int:
    """One request."""
    return tool.show(tool.daemon.read("request", {"id": given.id}))


def approve(tool: Tool, given: Namespace) -> int:
    """Say yes."""
    body = {"id": given.id, "note": given.note}
    return tool.show(tool.daemon.call("POST", "requests/approve", body=body))


def reject(tool: Tool, given: Namespace) -> int:
    """Say no."""
    body = {"id": given.id, "note": given.note}
    return tool.show(tool.daemon.call("POST", "requests/reject", body=body))


def search(tool: Tool, given: Namespace) -> int:
    """Certificates, newest first."""
    names = ("subject", "entity", "authority", "status", "limit")
    found = tool.daemon.read(
        "certificates", {name: getattr(given, name) for name in names}
    )
    columns = ("reference", "status", "subject", "entity", "profile", "not_after")
    return tool.table(found, columns)


def show(tool: Tool, given: Namespace) -> int:
    """One certificate."""
    view = tool.daemon.read("certificate", {"reference": given.reference})
    return tool.show(view if tool.json else without(view, "der", "chain"))


def export(tool: Tool, given: Namespace) -> int:
    """The certificate itself."""
    view = tool.daemon.read("certificate", {"reference": given.reference})
    found = [decoded(view, "der")]
    if given.der:
        return write(found[0], given.out)
    chain = view["chain"]
    if given.chain and isinstance(chain, list):
        found += [base64.b64decode(one) for one in chain]
    pem = [load_der_x509_certificate(one).public_bytes(Encoding.PEM) for one in found]
    return write(b"".join(pem), given.out)


def revoke(tool: Tool, given: Namespace) -> int:
    """Revoke, hold or release."""
    body = {
        "reference": given.reference,
        "reason": given.reason,
        "note": given.note,
    }
    return tool.show(tool.daemon.call("POST", "certificates/revoke", body=body))


_REFERENCE: Final = argument(
    "reference", help="authority/serial, serial number or SHA-256 fingerprint"
)
_NOTE: Final = argument("--note", default="", help="why; it is audited")
COMMANDS: Final = (
    Command(
        noun="request",
        verb="list",
        help="requests that wait for an operator",
        run=list_requests,
        arguments=(argument("--all", action="store_true", help="decided ones too"),),
    ),
    Command(
        noun="request",
        verb="show",
        help="one request",
        run=show_request,
        arguments=(argument("id"),),
    ),
    Command(
        noun="request",
        verb="approve",
        help="agree; the last one who must issues the certificate",
        run=approve,
        arguments=(argument("id"), _NOTE),
    ),
    Command(
        noun="request",
        verb="reject",
        help="refuse for good",
        run=reject,
        arguments=(argument("id"), _NOTE),
    ),
    Command(
        noun="certificate",
        verb="search",
        help="certificates, newest first",
        run=search,
        arguments=(
            argument("--subject", default="", help="begin of the subject, CN=dev"),
            argument("--entity", default="", help="of this end entity"),
            argument("--authority", default="", help="of this CA"),
            argument("--status", default="", choices=["", *STATUSES]),
            argument("--limit", default="", help="at most so many [100]"),
        ),
    ),
    Command(
        noun="certificate",
        verb="show",
        help="what is known of one",
        run=show,
        arguments=(_REFERENCE,),
    ),
    Command(
        noun="certificate",
        verb="export",
        help="the certificate itself",
        run=export,
        arguments=(
            _REFERENCE,
            argument("--chain", action="store_true", help="and its issuers"),
            DER,
            OUT,
        ),
    ),
    Command(
        noun="certificate",
        verb="revoke",
        help="revoke, hold (certificate-hold) or release (remove-from-crl)",
        run=revoke,
        arguments=(
            _REFERENCE,
            argument("--reason", default="unspecified", choices=list(REASONS)),
            _NOTE,
        ),
    ),
)
