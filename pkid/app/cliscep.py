"""Commands about SCEP: challenges."""

from __future__ import annotations

import hashlib
import sys
from argparse import Namespace
from pathlib import Path
from typing import Final

from pkid.app.commands import Command, Tool, argument
from pkid.app.readings import refuse


def add_challenge(tool: Tool, given: Namespace) -> int:
    """Make a challenge."""
    challenge = ""
    if given.challenge_file is not None:
        challenge = _read(given.challenge_file).rstrip("\r\n")
    uses, expires = given.uses, given.expires
    if given.static:
        uses, expires = None, given.expires if given.expires != DEFAULT_EXPIRY else ""
    body = {
        "challenge": challenge,
        "alias": given.alias,
        "entity": given.entity,
        "subject": given.subject,
        "alternative_names": given.san,
        "profile": given.profile,
        "key": "" if given.key is None else _key_digest(given.key),
        "uses": uses,
        "expires": expires,
    }
    return tool.show(tool.daemon.call("POST", "scep/challenges", body=body))


def _read(path: Path) -> str:
    return sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")


def _key_digest(path: Path) -> str:
    """SHA-256 of the public key in a PEM or DER file of a key or a request.

    :raises PKIError: ``BAD_REQUEST`` when there is none.
    """
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_der_public_key,
        load_pem_public_key,
    )
    from cryptography.x509 import load_der_x509_csr, load_pem_x509_csr

    octets = path.read_bytes()
    for load in (load_pem_public_key, load_der_public_key):
        try:
            key = load(octets)
        except ValueError:
            continue
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(spki).hexdigest()
    for load_request in (load_pem_x509_csr, load_der_x509_csr):
        try:
            request = load_request(octets)
        except ValueError:
            continue
        spki = request.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        return hashlib.sha256(spki).hexdigest()
    raise refuse(f"{path} holds neither a public key nor a PKCS #10 request")


def list_fingerprints(tool: Tool, _given: Namespace) -> int:
    """Digests of the certificates that clients are shown."""
    columns = ("alias", "certificate", "subject", "sha256", "sha1", "md5")
    return tool.table(tool.daemon.call("GET", "scep/fingerprints"), columns)


DEFAULT_EXPIRY: Final = "60m"
COMMANDS: Final = (
    Command(
        noun="scep",
        verb="fingerprints",
        help="digests of RA and CA certificates, to compare on a device",
        run=list_fingerprints,
    ),
    Command(
        noun="scep",
        verb="challenge",
        help="make a challenge; it is shown this once",
        run=add_challenge,
        arguments=(
            argument("--alias", default="", help="good for this alias only"),
            argument("--entity", default="", help="good for this end entity only"),
            argument("--subject", default="", help="subjects allowed, like CN=ap-*"),
            argument(
                "--san",
                action="append",
                default=[],
                help="names allowed, like dns:*.example.com; again for more [any]",
            ),
            argument("--profile", default="", help="certificate profile it is for"),
            argument(
                "--key",
                type=Path,
                metavar="FILE",
                help="good for the public key (or PKCS #10 request) in it only",
            ),
            argument("--uses", type=int, default=1, help="certificates [1]"),
            argument(
                "--expires",
                default=DEFAULT_EXPIRY,
                help=f"after that time [{DEFAULT_EXPIRY}]",
            ),
            argument(
                "--static",
                action="store_true",
                help="any number of uses; the alias must have static_challenge",
            ),
            argument(
                "--challenge-file",
                type=Path,
                metavar="FILE",
                help="take it from there, - is standard input [160 random bits]",
            ),
        ),
    ),
)
