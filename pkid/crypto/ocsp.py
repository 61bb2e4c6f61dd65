"""Encode what an OCSP responder signs: the status of certificates.

Pure. A `SingleResponse` is encoded by itself; `encode_response_data` joins them and
`encode_basic_response` puts the signature and the responder's certificate beside them.

**Source:** RFC 6960 section 4.2, RFC 5019 section 2.2.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier, Extension, encode_extensions
from pkid.crypto.algorithms import digest
from pkid.crypto.publickeys import decode_spki
from pkid.errors import ErrorCode, PKIError

#: Contents of ``CertStatus``: certificates not revoked, and those never heard of.
GOOD: Final = b"\x80\x00"
UNKNOWN: Final = b"\x82\x00"
#: What stands for the time of a revocation that never was (RFC 6960 section 2.2).
NEVER_ISSUED_AT: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)

_UNSPECIFIED: Final = 0
_UNUSED_REASON: Final = 7
_LAST_REASON: Final = 10
_REVOKED: Final = der.constructed(1)


def revoked(revoked_at: datetime.datetime, reason: int = _UNSPECIFIED) -> bytes:
    """``CertStatus`` of a revoked or held certificate.

    :param revoked_at: aware; whole seconds are kept.
    :param reason: ``CRLReason``; 0 (unspecified) is left out.
    :raises PKIError: ``INTERNAL`` for a reason that does not exist.

    **Source:** RFC 6960 section 4.2.1.
    """
    if not _UNSPECIFIED <= reason <= _LAST_REASON or reason == _UNUSED_REASON:
        raise PKIError(ErrorCode.INTERNAL, "there is no such revocation reason")
    value = _time(revoked_at)
    if reason != _UNSPECIFIED:
        value += bytes((0xA0, 3, der.ENUMERATED, 1, reason))
    return der.encode(_REVOKED, value)


def encode_single_response(
    certificate_id: bytes,
    status: bytes,
    this_update: datetime.datetime,
    next_update: datetime.datetime,
    extensions: Sequence[Extension] = (),
) -> bytes:
    """One ``SingleResponse``.

    :param certificate_id: the ``CertID`` as it was asked for, whole.
    :param status: `GOOD`, `UNKNOWN` or from `revoked`.
    :param next_update: aware; RFC 5019 wants it always.

    **Source:** RFC 6960 section 4.2.1; RFC 5019 section 2.2.4.
    """
    tail = der.encode(0xA1, encode_extensions(tuple(extensions))) if extensions else b""
    update = _time(next_update)
    return der.encode(
        der.SEQUENCE,
        certificate_id,
        status,
        _time(this_update),
        b"\xa0%c%b" % (len(update), update),
        tail,
    )


def encode_response_data(
    responder_id: bytes,
    produced_at: datetime.datetime,
    responses: Iterable[bytes],
    extensions: Sequence[Extension] = (),
) -> bytes:
    """``ResponseData``: the octets that a responder signs.

    :param responder_id: from `responder_by_key`.
    :param responses: from `encode_single_response`, in the order of the request.
    :param extensions: such as the nonce.

    **Source:** RFC 6960 section 4.2.1.
    """
    tail = der.encode(0xA1, encode_extensions(tuple(extensions))) if extensions else b""
    return der.encode(
        der.SEQUENCE,
        responder_id,
        _time(produced_at),
        der.encode(der.SEQUENCE, *responses),
        tail,
    )


def encode_basic_response(
    response_data: bytes,
    algorithm: AlgorithmIdentifier,
    signature: bytes,
    certificates: bytes = b"",
) -> bytes:
    """``BasicOCSPResponse``.

    :param signature: octets of the signature over ``response_data``.
    :param certificates: from `encode_certificates`, or b"" for none.

    **Source:** RFC 6960 section 4.2.1.
    """
    return der.encode(
        der.SEQUENCE,
        response_data,
        _encode_algorithm(algorithm),
        der.encode(der.BIT_STRING, b"\x00" + signature),
        certificates,
    )


def encode_certificates(certificates: Iterable[bytes]) -> bytes:
    """The ``certs`` of a response: the delegated responder's; b"" for none."""
    joined = b"".join(certificates)
    return der.explicit(0, der.encode(der.SEQUENCE, joined)) if joined else b""


def responder_by_key(spki: bytes) -> bytes:
    """``ResponderID`` by the SHA-1 of the responder's key.

    :param spki: SubjectPublicKeyInfo of the key that signs.

    **Source:** RFC 6960 section 4.2.1; RFC 5019 section 2.2.2 wants it by key.
    """
    return der.explicit(2, der.octet_string(issuer_key_hash("sha1", spki)))


def issuer_key_hash(hash_name: str, spki: bytes) -> bytes:
    """``issuerKeyHash`` of a ``CertID``: over the key's bits alone.

    :param hash_name: as in `pkid.crypto.algorithms.HASH_OIDS`.

    **Source:** RFC 6960 section 4.1.1.
    """
    return digest(hash_name, decode_spki(spki).key)


def issuer_name_hash(hash_name: str, issuer: bytes) -> bytes:
    """``issuerNameHash`` of a ``CertID``.

    :param issuer: DER of the issuer's ``Name``.

    **Source:** RFC 6960 section 4.1.1.
    """
    return digest(hash_name, issuer)


# --- extensions ---------------------------------------------------------------


def archive_cutoff(moment: datetime.datetime) -> Extension:
    """``archiveCutoff``: how far back expired certificates are still known.

    **Source:** RFC 6960 section 4.4.4.
    """
    return Extension(
        oids.ID_PKIX_OCSP_ARCHIVE_CUTOFF, critical=False, value=_time(moment)
    )


def nonce(value: bytes) -> Extension:
    """``nonce``, its value as it arrived.

    :param value: contents of ``extnValue`` in the request.

    **Source:** RFC 6960 section 4.4.1, RFC 8954.
    """
    return Extension(oids.ID_PKIX_OCSP_NONCE, critical=False, value=value)


def extended_revoke() -> Extension:
    """``extendedRevoke``: certificates never issued are said to be revoked.

    **Source:** RFC 6960 section 4.4.8.
    """
    return Extension(oids.ID_PKIX_OCSP_EXTENDED_REVOKE, critical=False, value=der.NULL)


@lru_cache(maxsize=512)
def _time(moment: datetime.datetime) -> bytes:
    # What is signed within a second has the same times.
    return der.generalized_time(moment)


@lru_cache(maxsize=64)
def _encode_algorithm(algorithm: AlgorithmIdentifier) -> bytes:
    return algorithm.encode()
