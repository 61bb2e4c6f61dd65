"""OCSP requests, and the outermost layer of the answers.

    relying party: OCSPRequest      responder: OCSPResponse (status, BasicOCSPResponse)

Pure. What the responder signs is made in `pkid.crypto.ocsp`.

**Source:** RFC 6960 sections 4.1 and 4.2, RFC 5019, RFC 8954.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.constructors import constructor
from pkid.asn1.x509 import AlgorithmIdentifier, Extension, decode_extensions

#: Certificates that one request may ask for.
MAX_CERTIFICATES: Final = 16
MIN_NONCE_OCTETS: Final = 1
MAX_NONCE_OCTETS: Final = 128
MAX_REQUEST_OCTETS: Final = 16 * 1024

_VERSION: Final = der.constructed(0)
_REQUESTOR: Final = der.constructed(1)
_EXTENSIONS: Final = der.constructed(2)
_SINGLE_EXTENSIONS: Final = der.constructed(0)
_SIGNATURE: Final = der.constructed(0)
_KNOWN: Final = frozenset(
    (
        oids.ID_PKIX_OCSP_NONCE,
        oids.ID_PKIX_OCSP_RESPONSE,
        oids.ID_PKIX_OCSP_SERVICE_LOCATOR,
        oids.ID_PKIX_OCSP_PREF_SIG_ALGS,
    )
)


class ResponseStatus(enum.IntEnum):
    """``OCSPResponseStatus``.

    **Source:** RFC 6960 section 4.2.1.
    """

    SUCCESSFUL = 0
    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    SIG_REQUIRED = 5
    UNAUTHORIZED = 6


@dataclass(frozen=True, slots=True)
class CertID:
    """Names one certificate by its issuer's hashes and its serial number.

    :ivar octets: the SEQUENCE whole, as it arrived: it is echoed.
    :ivar serial: of any size and sign; only ours can be known.
    """

    octets: bytes
    hash_algorithm: AlgorithmIdentifier
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int

    @classmethod
    def decode(cls, octets: bytes) -> CertID:
        """Read a whole ``CertID``.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(octets, der.SEQUENCE))
        algorithm = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        name_hash = cursor.take(der.OCTET_STRING)
        key_hash = cursor.take(der.OCTET_STRING)
        serial = der.decode_integer(cursor.last(der.INTEGER))
        return _make_cert_id(octets, algorithm, name_hash, key_hash, serial)


@dataclass(frozen=True, slots=True)
class OCSPRequest:
    """What a relying party asks. A signature over it is not looked at.

    :ivar certificates: 1 to `MAX_CERTIFICATES`.
    :ivar nonce: value of the extension as it arrived, or None.
    """

    certificates: tuple[CertID, ...]
    nonce: bytes | None = None

    @classmethod
    def decode(cls, octets: bytes) -> OCSPRequest:
        """Read a whole ``OCSPRequest``.

        :raises PKIError: ``MALFORMED``; also for a critical extension that nobody
            knows and a nonce out of bounds.

        **Source:** RFC 6960 section 4.1.1; 4.4 for extensions.
        """
        outer = der.Cursor(der.single(octets, der.SEQUENCE))
        cursor = outer.enter(der.SEQUENCE)
        if outer:
            outer.take(_SIGNATURE)
            outer.finish()
        if cursor.at(_VERSION) and cursor.take(_VERSION) != b"\x02\x01\x00":
            der.malformed("the OCSP request is of an unknown version")
        cursor.optional(_REQUESTOR)
        certificates = _decode_list(cursor.take(der.SEQUENCE))
        extensions = _decode_extensions(cursor.optional(_EXTENSIONS))
        cursor.finish()
        return cls(certificates, _nonce(extensions))


_make_cert_id = constructor(CertID)


def _decode_list(contents: bytes) -> tuple[CertID, ...]:
    requests = der.sequences(contents, MAX_CERTIFICATES) if contents else []
    if not requests:
        der.malformed("the OCSP request asks for nothing")
    return tuple(map(_decode_one, requests))


def _decode_one(contents: bytes) -> CertID:
    cursor = der.Cursor(contents)
    found = CertID.decode(cursor.raw(der.SEQUENCE))
    if cursor:
        _decode_extensions(cursor.take(_SINGLE_EXTENSIONS))
        cursor.finish()
    return found


def _decode_extensions(contents: bytes | None) -> tuple[Extension, ...]:
    if contents is None:
        return ()
    extensions = decode_extensions(der.single(contents, der.SEQUENCE))
    for extension in extensions:
        if extension.critical and extension.oid not in _KNOWN:
            der.malformed("a critical extension of the OCSP request is not known")
    return extensions


def _nonce(extensions: tuple[Extension, ...]) -> bytes | None:
    for extension in extensions:
        if extension.oid == oids.ID_PKIX_OCSP_NONCE:
            _check_nonce(extension.value)
            return extension.value
    return None


def _check_nonce(value: bytes) -> None:
    """Refuse a nonce out of bounds.

    RFC 6960 wraps it into an OCTET STRING; RFC 2560 did not say so, and there are
    clients that put it bare into the extension.
    """
    wrapped = value[:1] == bytes((der.OCTET_STRING,)) and value[1:2] == bytes(
        (len(value) - 2 & 0xFF,)
    )
    if wrapped or len(value) > MAX_NONCE_OCTETS:
        value = der.single(value, der.OCTET_STRING)
    if not MIN_NONCE_OCTETS <= len(value) <= MAX_NONCE_OCTETS:
        der.malformed("the nonce is empty or too long")


def encode_success(basic: bytes) -> bytes:
    """``OCSPResponse`` with an answer.

    :param basic: the ``BasicOCSPResponse``, whole.

    **Source:** RFC 6960 section 4.2.1.
    """
    answer = der.encode(der.SEQUENCE, _BASIC + der.encode(der.OCTET_STRING, basic))
    return der.encode(der.SEQUENCE, _SUCCESSFUL + der.encode(0xA0, answer))


def encode_failure(status: ResponseStatus) -> bytes:
    """``OCSPResponse`` without an answer; it is not signed.

    **Source:** RFC 6960 section 2.3.
    """
    return der.sequence(bytes((der.ENUMERATED, 1, status)))


_BASIC: Final = der.oid(oids.ID_PKIX_OCSP_BASIC)
_SUCCESSFUL: Final = bytes((der.ENUMERATED, 1, ResponseStatus.SUCCESSFUL))
