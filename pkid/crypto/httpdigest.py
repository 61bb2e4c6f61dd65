"""HTTP Digest authentication: what a client proves its password with.

Pure. MD5 is here because libest knows nothing else; it stands inside TLS, and an
entrance offers it only when its configuration says so.

**Source:** RFC 7616 sections 3.3 and 3.4.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pkid.errors import ErrorCode, PKIError

MD5: Final = "MD5"
SHA256: Final = "SHA-256"
MAX_PARAMETERS: Final = 32
_DIGESTS: Final[dict[str, Callable[[bytes], str]]] = {
    MD5: lambda octets: hashlib.md5(octets, usedforsecurity=False).hexdigest(),
    SHA256: lambda octets: hashlib.sha256(octets).hexdigest(),
}
_PARAMETER: Final = re.compile(
    r"\s*([A-Za-z0-9*_-]{1,32})\s*=\s*"
    r'(?:"((?:[^"\\]|\\.){0,1024})"|([^\s",]{1,1024}))\s*(?:,|$)'
)
_ESCAPED: Final = re.compile(r"\\(.)")
_HEXADECIMAL: Final = re.compile(r"[0-9a-fA-F]{32,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestCredentials:
    """What follows ``Digest`` in an Authorization header.

    :ivar algorithm: `MD5` or `SHA256`.
    :ivar uri: the request target that the client says it meant.
    :ivar nc: nonce count, as it came.
    """

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str
    cnonce: str
    nc: str

    @classmethod
    def decode(cls, text: str) -> DigestCredentials:
        """Read the parameters.

        :raises PKIError: ``MALFORMED`` when one is missing, ``BAD_ALGORITHM`` for
            another algorithm, and for anything but ``qop=auth``.
        """
        found = _parameters(text)
        algorithm = found.get("algorithm", MD5).upper()
        if algorithm not in _DIGESTS or found.get("qop", "") != "auth":
            raise PKIError(
                ErrorCode.BAD_ALGORITHM, "this kind of Digest is not offered here"
            )
        try:
            decoded = cls(
                username=found["username"],
                realm=found["realm"],
                nonce=found["nonce"],
                uri=found["uri"],
                response=found["response"],
                algorithm=algorithm,
                cnonce=found["cnonce"],
                nc=found["nc"],
            )
        except KeyError:
            raise _malformed() from None
        if _HEXADECIMAL.fullmatch(decoded.response) is None:
            raise _malformed()
        return decoded

    def verify(self, secret: bytes, method: str) -> None:
        """Check the response.

        :param secret: the password in octets.
        :param method: of the request.
        :raises PKIError: ``BAD_MESSAGE_CHECK``.
        """
        digest = _DIGESTS[self.algorithm]
        user = f"{self.username}:{self.realm}:".encode()
        first = digest(user + secret)
        second = digest(f"{method}:{self.uri}".encode())
        parts = (first, self.nonce, self.nc, self.cnonce, "auth", second)
        wanted = digest(":".join(parts).encode())
        if not hmac.compare_digest(wanted, self.response.lower()):
            raise PKIError(ErrorCode.BAD_MESSAGE_CHECK, "wrong user or password")


def _parameters(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None or len(found) == MAX_PARAMETERS:
            raise _malformed()
        name, quoted, plain = match.groups()
        value = plain if quoted is None else _ESCAPED.sub(r"\1", quoted)
        if found.setdefault(name.lower(), value) != value:
            raise _malformed()
        position = match.end()
    return found


def _malformed() -> PKIError:
    return PKIError(ErrorCode.MALFORMED, "the Authorization header is malformed")
