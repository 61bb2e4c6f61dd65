"""Commands about what was asked and issued: CAs, requests, certificates."""

from __future__ import annotations

import base64
import sys
from argparse import Namespace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate, load_der_x509_crl

from pkid.app.commands import DONE, Command, Tool, argument
from pkid.app.readings import STATUSES
from pkid.app.resources import REASONS
from pkid.app.views import View
from pkid.storage.directory import write_atomically

_OUT: Final = argument("--out", type=Path, metavar="FILE", help="[standard output]")
_DER: Final = argument("--der", action="store_true", help="DER instead of PEM")


def _decoded(view: View, name: str) -> bytes:
    return base64.b64decode(str(view[name]))


def _write(octets: bytes, out: Path | None) -> int:
    if out is None:
        sys.stdout.buffer.write(octets)
    else:
        write_atomically(out.absolute(), octets, 0o644)
    return DONE


def _without(view: View, *names: str) -> View:
    return {key: value for key, value in view.items() if key not in names}


def list_authorities(tool: Tool, _given: Namespace) -> int:
    """All certification authorities."""
    columns = ("name", "phase", "subject", "issuer", "not_after", "active")
    return tool.table(tool.daemon.read("authorities"), columns)


def show_authority(tool: Tool, given: Namespace) -> int:
    """One certification authority."""
    view = tool.daemon.read("authority", {"name": given.name})
    return tool.show(view if tool.json else _without(view, "chain"))


def crl(tool: Tool, given: Namespace) -> int:
    """The last CRL, or a new one."""
    if given.issue:
        tool.daemon.call("POST", "authorities/crl", body={"name": given.name})
    view = tool.daemon.read("crl", {"name": given.name})
    if tool.json:
        return tool.show(view)
    octets = _decoded(view, "der")
    if not given.der:
        octets = load_der_x509_crl(octets).public_bytes(Encoding.PEM)
    return _write(octets, given.out)


def rollover(tool: Tool, given: Namespace) -> int:
    """Make the next key of a CA."""
    body = {"name": given.name, "key": given.key}
    return tool.show(tool.daemon.call("POST", "authorities/rollover", body=body))


def activate(tool: Tool, given: Namespace) -> int:
    """Let the next CA take over."""
    body = {"name": given.name}
    return tool.show(tool.daemon.call("POST", "authorities/activate", body=body))


def renew(tool: Tool, given: Namespace) -> int:
    """A new certificate for the same key."""
    body = {"name": given.name}
    return tool.show(tool.daemon.call("POST", "authorities/renew", body=body))


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
    return tool.show(view if tool.json else _without(view, "der", "chain"))


def export(tool: Tool, given: Namespace) -> int:
    """The certificate itself."""
    view = tool.daemon.read("certificate", {"reference": given.reference})
    found = [_decoded(view, "der")]
    if given.der:
        return _write(found[0], given.out)
    chain = view["chain"]
    if given.chain and isinstance(chain, list):
        found += [base64.b64decode(one) for one in chain]
    pem = [load_der_x509_certificate(one).public_bytes(Encoding.PEM) for one in found]
    return _write(b"".join(pem), given.out)


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
    Command(noun="ca", verb="list", help="all of them", run=list_authorities),
    Command(
        noun="ca",
        verb="show",
        help="one of them",
        run=show_authority,
        arguments=(argument("name"),),
    ),
    Command(
        noun="ca",
        verb="crl",
        help="its revocation list",
        run=crl,
        arguments=(
            argument("name"),
            argument("--issue", action="store_true", help="make a new one first"),
            _DER,
            _OUT,
        ),
    ),
    Command(
        noun="ca",
        verb="rollover",
        help="make its next key and hand it out; it takes over with `activate`",
        run=rollover,
        arguments=(
            argument("name"),
            argument(
                "--key",
                default="",
                help="kind of the new key, like ec:P-384; default: as the old one",
            ),
        ),
    ),
    Command(
        noun="ca",
        verb="activate",
        help="let the one that `rollover` made take over",
        run=activate,
        arguments=(argument("name"),),
    ),
    Command(
        noun="ca",
        verb="renew",
        help="a new certificate for the key that it has",
        run=renew,
        arguments=(argument("name"),),
    ),
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
            _DER,
            _OUT,
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
