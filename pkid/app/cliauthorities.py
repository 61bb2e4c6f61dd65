"""Commands about certification authorities: made, certified, rolled over, listed."""

from __future__ import annotations

import base64
from argparse import Namespace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import (
    load_der_x509_crl,
    load_der_x509_csr,
    load_pem_x509_certificates,
)

from pkid.app.clioctets import DER, OUT, decoded, without, write
from pkid.app.commands import Command, Tool, argument


def list_authorities(tool: Tool, _given: Namespace) -> int:
    """All certification authorities."""
    columns = ("name", "phase", "subject", "issuer", "not_after", "active")
    return tool.table(tool.daemon.read("authorities"), columns)


def show_authority(tool: Tool, given: Namespace) -> int:
    """One certification authority."""
    view = tool.daemon.read("authority", {"name": given.name})
    return tool.show(view if tool.json else without(view, "chain"))


def crl(tool: Tool, given: Namespace) -> int:
    """The last CRL, or a new one."""
    if given.issue:
        tool.daemon.call("POST", "authorities/crl", body={"name": given.name})
    view = tool.daemon.read("crl", {"name": given.name})
    if tool.json:
        return tool.show(view)
    octets = decoded(view, "der")
    if not given.der:
        octets = load_der_x509_crl(octets).public_bytes(Encoding.PEM)
    return write(octets, given.out)


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


def create(tool: Tool, given: Namespace) -> int:
    """A root, or a CA below one that is there."""
    body = {
        "name": given.name,
        "subject": given.subject,
        "key": given.key,
        "parent": given.parent,
    }
    return tool.show(tool.daemon.call("POST", "authorities", body=body))


def request(tool: Tool, given: Namespace) -> int:
    """A request for another PKI."""
    body = {"name": given.name, "subject": given.subject, "key": given.key}
    view = tool.daemon.call("POST", "authorities/request", body=body)
    if tool.json:
        return tool.show(view)
    octets = decoded(view, "der")
    if not given.der:
        octets = load_der_x509_csr(octets).public_bytes(Encoding.PEM)
    return write(octets, given.out)


def install(tool: Tool, given: Namespace) -> int:
    """What another PKI answered."""
    found = [
        certificate
        for path in given.files
        for certificate in load_pem_x509_certificates(path.read_bytes())
    ]
    texts = [
        base64.b64encode(one.public_bytes(Encoding.DER)).decode("ascii")
        for one in found
    ]
    body = {"name": given.name, "certificates": texts}
    return tool.show(tool.daemon.call("POST", "authorities/install", body=body))


_SUBJECT: Final = argument(
    "--subject", required=True, metavar="DN", help='like "CN=Issuing CA,O=Example"'
)
_KEY: Final = argument("--key", default="ec:P-256", help="kind of key [%(default)s]")
COMMANDS: Final = (
    Command(
        noun="ca",
        verb="create",
        help="make a root, or a CA below one that is there",
        run=create,
        arguments=(
            argument("name"),
            _SUBJECT,
            _KEY,
            argument(
                "--parent", default="", help="CA that certifies it [none: a root]"
            ),
        ),
    ),
    Command(
        noun="ca",
        verb="request",
        help="make a key and a request that another PKI certifies",
        run=request,
        arguments=(argument("name"), _SUBJECT, _KEY, DER, OUT),
    ),
    Command(
        noun="ca",
        verb="install",
        help="take the certificates that another PKI gave for `request`",
        run=install,
        arguments=(
            argument("name"),
            argument(
                "files",
                nargs="+",
                type=Path,
                metavar="FILE",
                help="PEM: its own certificate and those above it, the root included",
            ),
        ),
    ),
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
            DER,
            OUT,
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
)
