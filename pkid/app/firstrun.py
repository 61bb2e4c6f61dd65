"""The directory ``first-run``: what a first user needs, and how to go on.

::

    root.pem chain.pem       trust anchor; issuing CA (a client sends or holds both)
    cmp.secret               the secret of the first-run reference
    est.secret est.netrc     the password of the first-run user; the same for curl
    acme.secret acme.hmac    an external account key, and as clients take it
    scep.challenge scep.options   a challenge; the same for strongSwan's pki
    admin.pem admin.key admin.p12
    credentials.toml         addresses and secrets, in place once all listeners accept
    README.txt               commands to paste; no secret in it

Everything is made once. A first start that was cut short is resumed: what is there is
kept, and a secret is on disk before the store knows it. At every later start only the
addresses in ``credentials.toml`` and ``README.txt`` are made again; when the operator
has moved the directory away, nothing is.

**Source:** DESIGN section 7; security requirements section 6.2; FLT-05.
"""

from __future__ import annotations

import base64
import secrets
import tomllib
from pathlib import Path
from typing import Final, cast

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    pkcs12,
)
from cryptography.x509 import load_der_x509_certificate

from pkid.app.house import House
from pkid.app.identities import ADMINISTRATOR, administrator, encode_chain
from pkid.app.kinds import quote
from pkid.app.readme import Doors, readme
from pkid.engine.credentials import NewSecret
from pkid.engine.model import UNBOUND, CredentialBinding, CredentialKind, RequestContext
from pkid.storage.directory import make_private_directory, write_atomically

DIRECTORY: Final = "first-run"
DONE: Final = "first-run.done"
CREDENTIALS: Final = "credentials.toml"
SECRET_FILE: Final = "cmp.secret"
CODE_FILE: Final = "est.secret"
NETRC_FILE: Final = "est.netrc"
CHALLENGE_FILE: Final = "scep.challenge"
OPTIONS_FILE: Final = "scep.options"
EAB_FILE: Final = "acme.secret"
HMAC_FILE: Final = "acme.hmac"
#: What the external account key of a try-out vouches for.
_VOUCHED: Final = CredentialBinding(
    alternative_names=("dns:pkid.test", "dns:*.pkid.test")
)
README: Final = "README.txt"
REFERENCE: Final = "first-run"
SECRET_OCTETS: Final = 20
_ACTOR: Final = "system:daemon"
_CONTEXT: Final = RequestContext(protocol="internal")


class FirstRun:
    """The first-run directory of one state directory.

    :param state: the state directory.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        # Of admin.p12, which a resumed first start makes again.
        self._password = secrets.token_urlsafe(16)

    @property
    def directory(self) -> Path:
        """Where it is."""
        return self.state / DIRECTORY

    @property
    def is_done(self) -> bool:
        """Whether a first start has come to its end."""
        return (self.state / DONE).exists()

    @property
    def is_there(self) -> bool:
        """Whether the operator has left the directory in place."""
        return (self.directory / CREDENTIALS).exists()

    async def prepare(self, house: House, *, authority: str, alias: str) -> None:
        """Make what is missing; nothing once a first start came to its end."""
        if self.is_done:
            return
        make_private_directory(self.directory)
        await self._make_secret(house, CredentialKind.CMP_SECRET, SECRET_FILE, alias)
        code = CredentialKind.ENROLLMENT_CODE
        password = await self._make_secret(house, code, CODE_FILE, alias)
        line = f"default login {REFERENCE} password {password}\n"
        write_atomically(self.directory / NETRC_FILE, line.encode())
        challenge = await self._make_challenge(house, alias)
        line = f"--password {challenge}\n"
        write_atomically(self.directory / OPTIONS_FILE, line.encode())
        eab = CredentialKind.ACME_EAB
        key = await self._make_secret(house, eab, EAB_FILE, alias, _VOUCHED)
        write_atomically(self.directory / HMAC_FILE, f"{_base64url(key)}\n".encode())
        chain = house.engine.chain(authority)
        write_atomically(self.directory / "root.pem", encode_chain(chain[-1:]))
        write_atomically(self.directory / "chain.pem", encode_chain(chain[:-1]))
        await self._make_administrator(house, authority)

    def complete(self, doors: Doors) -> str:
        """Write the true addresses; to be called when every listener accepts.

        :returns: the text for a terminal; "" when the directory was moved away.
        """
        if self.is_done and not self.is_there:
            return ""
        text = readme(self.directory, doors, reference=REFERENCE)
        write_atomically(self.directory / README, text.encode())
        write_atomically(self.directory / CREDENTIALS, self._credentials(doors))
        if not self.is_done:
            write_atomically(self.state / DONE, b"")
        return text

    # --- the secret -------------------------------------------------------------

    async def _make_secret(
        self,
        house: House,
        kind: CredentialKind,
        file: str,
        alias: str,
        binding: CredentialBinding = UNBOUND,
    ) -> str:
        path = self.directory / file
        stored = await house.store.find_credential(kind, REFERENCE)
        if path.exists():
            value = path.read_bytes().rstrip(b"\n")
        else:
            value = base64.b32encode(secrets.token_bytes(SECRET_OCTETS)).lower()
            write_atomically(path, value + b"\n")
            if stored is not None:
                # Its file was lost before anybody could use it.
                await house.engine.administration.remove_secret(
                    kind, REFERENCE, _ACTOR, _CONTEXT
                )
                stored = None
        if stored is None:
            new = NewSecret(
                kind=kind,
                reference=REFERENCE,
                secret=value,
                alias=alias,
                binding=binding,
            )
            await house.engine.administration.add_secret(new, _ACTOR, _CONTEXT)
        return value.decode("ascii")

    async def _make_challenge(self, house: House, alias: str) -> str:
        """SCEP's secret, which has no reference: it is found by its value."""
        path = self.directory / CHALLENGE_FILE
        if path.exists():
            value = path.read_bytes().rstrip(b"\n")
        else:
            value = base64.b32encode(secrets.token_bytes(SECRET_OCTETS)).lower()
            write_atomically(path, value + b"\n")
        if await house.engine.find_challenge(value, alias) is None:
            kind = CredentialKind.SCEP_CHALLENGE
            new = NewSecret(kind=kind, secret=value, alias=alias)
            await house.engine.administration.add_secret(new, _ACTOR, _CONTEXT)
        return value.decode("ascii")

    # --- the administrator ------------------------------------------------------

    async def _make_administrator(self, house: House, authority: str) -> None:
        identity = await administrator(house, authority)
        octets = await house.keys.export_private_key(f"service-{ADMINISTRATOR}")
        key = cast(
            ec.EllipticCurvePrivateKey, load_der_private_key(octets, password=None)
        )
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_atomically(self.directory / "admin.key", pem)
        certificate = encode_chain([identity.certificate])
        write_atomically(self.directory / "admin.pem", certificate)
        write_atomically(
            self.directory / "admin.p12",
            pkcs12.serialize_key_and_certificates(
                b"pkid administrator",
                key,
                load_der_x509_certificate(identity.certificate),
                [load_der_x509_certificate(one) for one in identity.chain],
                BestAvailableEncryption(self._password.encode()),
            ),
        )

    # --- credentials.toml -------------------------------------------------------

    def _credentials(self, doors: Doors) -> bytes:
        secret, code, challenge, eab, password = self._values()
        lines = ["# Addresses and secrets of the first start of pkid.", "", "[cmp]"]
        if doors.cmp_url:
            lines.append(f"url = {quote(doors.cmp_url)}")
        if doors.cmp_tcp:
            lines.append(f"tcp = {quote(doors.cmp_tcp)}")
        lines += [f"reference = {quote(REFERENCE)}", f"secret = {quote(secret)}"]
        lines += ["", "[est]"]
        if doors.est_url:
            lines.append(f"url = {quote(doors.est_url)}")
        lines += [f"username = {quote(REFERENCE)}", f"password = {quote(code)}"]
        lines += ["", "[scep]"]
        if doors.scep_url:
            lines.append(f"url = {quote(doors.scep_url)}")
        lines.append(f"challenge = {quote(challenge)}")
        lines += ["", "[acme]"]
        if doors.acme_directory:
            lines.append(f"directory = {quote(doors.acme_directory)}")
        lines += [f"eab_kid = {quote(REFERENCE)}", f"eab_hmac_key = {quote(eab)}"]
        lines += ["", "[rest]", f"p12_password = {quote(password)}", ""]
        return "\n".join(lines).encode()

    def _values(self) -> tuple[str, str, str, str, str]:
        """CMP secret, EST password, SCEP challenge, EAB key, PKCS #12 password.

        Those of ``credentials.toml`` once it is complete.
        """
        path = self.directory / CREDENTIALS
        if self.is_done:
            found = tomllib.loads(path.read_text("utf-8"))
            secret, code = found["cmp"]["secret"], found["est"]["password"]
            challenge, eab = found["scep"]["challenge"], found["acme"]["eab_hmac_key"]
            return secret, code, challenge, eab, found["rest"]["p12_password"]
        names = (SECRET_FILE, CODE_FILE, CHALLENGE_FILE, HMAC_FILE)
        files = (self.directory / name for name in names)
        secret, code, challenge, eab = (one.read_text("utf-8").strip() for one in files)
        return secret, code, challenge, eab, self._password


def _base64url(text: str) -> str:
    """A MAC key as ACME clients take it."""
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode("ascii")
