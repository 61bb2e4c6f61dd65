"""Secrets in memory, where they come from, and how the store keeps them sealed.

A `Secret` shows nothing of itself. The configuration holds references to secrets,
never values; they are resolved to octets before privileges are dropped.

**Source:** security requirements SEC-102, SEC-106, SEC-107.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pkid.errors import ErrorCode, PKIError

MAX_SECRET_OCTETS: Final = 64 * 1024
BOX_KEY_OCTETS: Final = 32
_MASK: Final = "Secret(***)"
_NONCE_OCTETS: Final = 12
_BOX_VERSION: Final = b"\x01"
_INDEX_LABEL: Final = b"pkid index of secrets"
_CREDENTIAL_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,127}")
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


class Secret:
    """Octets that do not show: not in a repr, a log, a format or a pickle.

    Two secrets are equal only if they are the same object; to compare values say
    `matches`.
    """

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def reveal(self) -> bytes:
        """The octets, for the one computation that needs them."""
        return self._octets

    def matches(self, octets: bytes) -> bool:
        """Whether the value is this, told in constant time."""
        return hmac.compare_digest(self._octets, octets)

    def __bool__(self) -> bool:
        return bool(self._octets)

    def __repr__(self) -> str:
        return _MASK

    def __format__(self, specification: str) -> str:
        return _MASK

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not copied or stored")


def _unresolved(detail: str, hint: str) -> PKIError:
    return PKIError(ErrorCode.UNAVAILABLE, detail, hint=hint)


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where a secret is to be found: ``file:PATH``, ``env:NAME``, ``credential:NAME``.

    :ivar scheme: "file", "env" or "credential".
    :ivar name: the path, the variable, or the name of the systemd credential.
    """

    scheme: str
    name: str

    @classmethod
    def decode(cls, text: str) -> SecretReference:
        """Read the configuration's form.

        :raises PKIError: ``BAD_REQUEST``. The text is not repeated: somebody may have
            written the secret itself there.
        """
        scheme, separator, name = text.partition(":")
        valid = {
            "file": lambda: bool(name) and "\0" not in name,
            "env": lambda: _VARIABLE_NAME.fullmatch(name) is not None,
            "credential": lambda: _CREDENTIAL_NAME.fullmatch(name) is not None,
        }.get(scheme)
        if not separator or valid is None or not valid():
            raise PKIError(
                ErrorCode.BAD_REQUEST,
                "not a reference to a secret: write file:PATH, env:NAME or "
                "credential:NAME",
            )
        return cls(scheme, name)

    def encode(self) -> str:
        """The configuration's form."""
        return f"{self.scheme}:{self.name}"

    def resolve(self, environment: Mapping[str, str], *, base: Path) -> Secret:
        """Read the secret; one line end at its end is not part of it.

        :param environment: of the process; for ``credential:`` it names systemd's
            directory.
        :param base: directory that a relative ``file:`` path starts from.
        :raises PKIError: ``UNAVAILABLE`` with the reference, never the value: it is not
            there, empty, too long, or a file that others may read.
        """
        if self.scheme == "env":
            octets = os.fsencode(environment.get(self.name, ""))
        elif self.scheme == "credential":
            octets = _read(self, _credential_path(self, environment))
        else:
            path = base / self.name
            _check_file(self, path)
            octets = _read(self, path)
        octets = octets.removesuffix(b"\n").removesuffix(b"\r")
        if not octets:
            raise _unresolved(
                f"secret {self.encode()} is empty or not set", "give it a value"
            )
        return Secret(octets)


def _credential_path(
    reference: SecretReference, environment: Mapping[str, str]
) -> Path:
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise _unresolved(
            f"secret {reference.encode()}: there are no systemd credentials",
            f"set LoadCredential={reference.name}:... in the unit",
        )
    return Path(directory) / reference.name


def _check_file(reference: SecretReference, path: Path) -> None:
    """Refuse a file that others may read, or that another user put there."""
    try:
        found = path.stat()
    except OSError as fault:
        raise _missing(reference, fault) from None
    if not stat.S_ISREG(found.st_mode):
        raise _unresolved(f"secret {reference.encode()} is not a file", "name a file")
    if found.st_uid not in (os.geteuid(), 0):
        raise _unresolved(
            f"secret {reference.encode()} belongs to another user", f"chown {path}"
        )
    if found.st_mode & 0o077:
        raise _unresolved(
            f"secret {reference.encode()} is open to other users", f"chmod go= {path}"
        )


def _read(reference: SecretReference, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_SECRET_OCTETS + 1)
    except OSError as fault:
        raise _missing(reference, fault) from None
    if len(octets) > MAX_SECRET_OCTETS:
        raise _unresolved(
            f"secret {reference.encode()} is too long", f"at most {MAX_SECRET_OCTETS}"
        )
    return octets


def _missing(reference: SecretReference, fault: OSError) -> PKIError:
    return _unresolved(
        f"secret {reference.encode()} cannot be read", fault.strerror or "look at it"
    )


class AESGCMSecretBox:
    """The `SecretBox` port: AES-256-GCM with a random nonce.

    Below 2**32 boxes under one key, random nonces of 96 bits do not meet (NIST
    SP 800-38D section 8.3).

    :param key: 32 octets.
    """

    __slots__ = ("_aead", "_index_key")

    def __init__(self, key: Secret) -> None:
        octets = key.reveal()
        if len(octets) != BOX_KEY_OCTETS:
            raise PKIError(
                ErrorCode.INTERNAL, "the key of the secret box is not 256 bit"
            )
        self._aead = AESGCM(octets)
        # Derived, so that no key serves two algorithms.
        self._index_key = hmac.digest(octets, _INDEX_LABEL, "sha256")

    def seal(self, secret: bytes, associated: bytes) -> bytes:
        """Encrypt a secret, bound to what it belongs to.

        :param associated: identity of the row; the same octets open it.
        :returns: version, nonce, ciphertext and tag.
        """
        nonce = secrets.token_bytes(_NONCE_OCTETS)
        return _BOX_VERSION + nonce + self._aead.encrypt(nonce, secret, associated)

    def index(self, secret: bytes) -> bytes:
        """A keyed digest, by which a stored secret is found again."""
        return hmac.digest(self._index_key, secret, "sha256")

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """Decrypt what `seal` made.

        :raises PKIError: ``INTERNAL`` when it was changed, belongs to another row, or
            was sealed under another key.
        """
        start = len(_BOX_VERSION) + _NONCE_OCTETS
        if not sealed.startswith(_BOX_VERSION) or len(sealed) < start:
            raise _broken_box()
        try:
            return self._aead.decrypt(
                sealed[len(_BOX_VERSION) : start], sealed[start:], associated
            )
        except InvalidTag:
            raise _broken_box() from None


def _broken_box() -> PKIError:
    return PKIError(
        ErrorCode.INTERNAL,
        "a stored secret cannot be opened",
        hint="keys/secrets.key is not the one that it was sealed with",
    )
