"""Encode certificate revocation lists.

Pure. Entries are encoded one by one, can be kept so, and are only joined when a list
is made: a hundred thousand of them cost milliseconds.

**Source:** RFC 5280 section 5.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName
from pkid.asn1.x509 import AlgorithmIdentifier, Extension
from pkid.crypto.extensions import full_name
from pkid.crypto.tbs import encode_time
from pkid.errors import ErrorCode, PKIError

UNSPECIFIED: Final = 0
_UNUSED_REASON: Final = 7
_LAST_REASON: Final = 10
_SERIAL_LIMIT: Final = 1 << 799
_VERSION_2: Final = b"\x02\x01\x01"


def _refuse(detail: str) -> PKIError:
    return PKIError(ErrorCode.INTERNAL, detail)


# --- entries ------------------------------------------------------------------


@lru_cache(maxsize=16)
def _reason_extension(reason: int) -> bytes:
    return reason_code(reason).encode()


def reason_code(reason: int) -> Extension:
    """``reasonCode``: 1 to 10, without 7.

    :raises PKIError: ``INTERNAL`` for another number: 0 must be left out.

    **Source:** RFC 5280 section 5.3.1.
    """
    if not UNSPECIFIED < reason <= _LAST_REASON or reason == _UNUSED_REASON:
        raise _refuse("there is no such revocation reason to write")
    value = bytes((der.ENUMERATED, 1, reason))
    return Extension(oids.ID_CE_CRL_REASONS, critical=False, value=value)


def invalidity_date(moment: datetime.datetime) -> Extension:
    """``invalidityDate``: since when the key is known or feared to be bad.

    **Source:** RFC 5280 section 5.3.2.
    """
    value = der.generalized_time(moment)
    return Extension(oids.ID_CE_INVALIDITY_DATE, critical=False, value=value)


def encode_crl_entry(
    serial: int,
    revoked_at: datetime.datetime,
    reason: int = UNSPECIFIED,
    invalidity: datetime.datetime | None = None,
) -> bytes:
    """One entry of ``revokedCertificates``.

    :param serial: of the revoked certificate; at most 100 octets.
    :param revoked_at: aware.
    :param reason: ``CRLReason``; 0 (unspecified) is left out, as RFC 5280 wants it.
    :param invalidity: aware, or None.
    :raises PKIError: ``INTERNAL`` for a reason that does not exist or a serial number
        that is negative or too long.

    **Source:** RFC 5280 section 5.1.2.6.
    """
    if not 0 <= serial < _SERIAL_LIMIT:
        raise _refuse("serial number is out of range")
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    body = b"\x02%c%b%b" % (len(octets), octets, encode_time(revoked_at))
    extensions = b"" if reason == UNSPECIFIED else _reason_extension(reason)
    if invalidity is not None:
        extensions += invalidity_date(invalidity).encode()
    if extensions:
        body += b"\x30%c%b" % (len(extensions), extensions)
    # Serial numbers of other makers may be long; nothing else here is.
    if len(body) > 127:
        return der.encode(der.SEQUENCE, body)
    return b"\x30%c%b" % (len(body), body)


# --- extensions of the list ---------------------------------------------------


def crl_number(number: int) -> Extension:
    """``cRLNumber``: rising, at most 20 octets.

    **Source:** RFC 5280 section 5.2.3.
    """
    _check_number(number)
    return Extension(oids.ID_CE_CRL_NUMBER, critical=False, value=der.integer(number))


def delta_crl_indicator(base_number: int) -> Extension:
    """``deltaCRLIndicator``: the number of the full CRL that the delta builds on.

    **Source:** RFC 5280 section 5.2.4.
    """
    _check_number(base_number)
    value = der.integer(base_number)
    return Extension(oids.ID_CE_DELTA_CRL_INDICATOR, critical=True, value=value)


def _check_number(number: int) -> None:
    if not 0 <= number < 1 << 159:
        raise _refuse("CRL number is out of range")


def issuing_distribution_point(
    names: Iterable[GeneralName] = (),
    *,
    only_user_certificates: bool = False,
    only_ca_certificates: bool = False,
    only_some_reasons: frozenset[int] | None = None,
    indirect: bool = False,
) -> Extension:
    """``issuingDistributionPoint``: what a partition of the CRL covers; critical.

    :param names: of this partition, as in the certificates' distribution points.
    :param only_some_reasons: numbers of the bits of ``ReasonFlags``.
    :raises PKIError: ``INTERNAL`` for an empty or contradictory one.

    **Source:** RFC 5280 section 5.2.5.
    """
    if only_user_certificates and only_ca_certificates:
        raise _refuse("a CRL cannot be for users only and for CAs only")
    names = tuple(names)
    parts = [der.explicit(0, full_name(names))] if names else []
    flags = {1: only_user_certificates, 2: only_ca_certificates}
    true = der.boolean(value=True)
    parts += [der.implicit(number, true) for number, flag in flags.items() if flag]
    if only_some_reasons is not None:
        parts.append(der.implicit(3, der.named_bits(only_some_reasons)))
    if indirect:
        parts.append(der.implicit(4, true))
    if not parts:
        raise _refuse("an issuing distribution point must say something")
    value = der.sequence(*parts)
    return Extension(oids.ID_CE_ISSUING_DISTRIBUTION_POINT, critical=True, value=value)


# --- the list -----------------------------------------------------------------


def assemble_crl(
    issuer: bytes,
    algorithm: AlgorithmIdentifier,
    this_update: datetime.datetime,
    next_update: datetime.datetime,
    entries: Iterable[bytes],
    extensions: Iterable[Extension],
) -> bytes:
    """Encode a ``TBSCertList`` (version 2).

    :param issuer: DER of the issuer's ``Name``.
    :param algorithm: with which the list will be signed.
    :param next_update: aware and after ``this_update``.
    :param entries: from `encode_crl_entry`, or many of them joined; none is fine.
    :param extensions: ``cRLNumber`` and ``authorityKeyIdentifier`` are a must.
    :raises PKIError: ``INTERNAL`` when the times are in the wrong order or a
        mandatory extension is missing.

    Cost: below 0.1 us an entry, and once the size of the list in memory.

    **Source:** RFC 5280 sections 5.1.2 and 5.2.
    """
    found = tuple(extensions)
    kinds = {extension.oid for extension in found}
    wanted = {oids.ID_CE_CRL_NUMBER, oids.ID_CE_AUTHORITY_KEY_IDENTIFIER}
    if not wanted <= kinds or len(kinds) != len(found):
        raise _refuse("CRL without number or authority key identifier, or one twice")
    if next_update <= this_update:
        raise _refuse("CRL ends before it begins")
    encoded = b"".join(extension.encode() for extension in found)
    begin = (
        _VERSION_2
        + algorithm.encode()
        + issuer
        + encode_time(this_update)
        + encode_time(next_update)
    )
    revoked = list(entries)
    size = sum(map(len, revoked))
    # RFC 5280 section 5.1.2.6: absent when there is none, never empty.
    head = _head(size) if size else b""
    end = der.explicit(0, der.encode(der.SEQUENCE, encoded))
    # One join: a list may have many megabytes.
    whole = _head(len(begin) + len(head) + size + len(end))
    return b"".join((whole, begin, head, *revoked, end))


def _head(size: int) -> bytes:
    """Tag and length of a SEQUENCE whose contents have this size."""
    if size < 0x80:
        return bytes((der.SEQUENCE, size))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((der.SEQUENCE, 0x80 | len(octets))) + octets


def encode_certificate_list(
    tbs: bytes, algorithm: AlgorithmIdentifier, signature: bytes
) -> bytes:
    """The whole ``CertificateList``.

    :param tbs: from `assemble_crl`.
    :param signature: octets of the signature over ``tbs``.
    """
    signed = algorithm.encode() + der.bit_string(signature)
    return b"".join((_head(len(tbs) + len(signed)), tbs, signed))
