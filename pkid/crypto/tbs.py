"""Encode what a certification authority signs: certificates.

Pure. All that is the same for every certificate of a profile and an issuer is encoded
once, in a `CertificateTemplate`; `CertificateTemplate.assemble` then fills in serial
number, validity, subject, key and the extensions that vary. Extensions are made in
`pkid.crypto.extensions`, revocation lists in `pkid.crypto.crls`.

**Source:** RFC 5280 section 4.1.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pkid.asn1 import der
from pkid.asn1.x509 import AlgorithmIdentifier, Extension
from pkid.crypto.signatures import encode_signed
from pkid.errors import ErrorCode, PKIError

VERSION_3: Final = b"\xa0\x03\x02\x01\x02"
MAX_SERIAL_OCTETS: Final = 20
PREFIX_OCTETS: Final = 6
RANDOM_OCTETS: Final = 13
NO_EXPIRY: Final = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
"""``99991231235959Z``: no well-defined end (RFC 5280 section 4.1.2.5)."""

_SECOND: Final = datetime.timedelta(seconds=1)
_DAY: Final = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class CertificateTemplate:
    """What all certificates of one profile and issuer share, encoded once.

    Make it with `compile`.

    :ivar issuer: DER of the issuer's ``Name``.
    :ivar algorithm: signature algorithm.
    :ivar head: encoded algorithm and issuer, as they follow the serial number.
    :ivar fixed_extensions: encoded ``Extension`` elements, joined.
    """

    issuer: bytes
    algorithm: AlgorithmIdentifier
    head: bytes
    fixed_extensions: bytes

    @classmethod
    def compile(
        cls,
        issuer: bytes,
        algorithm: AlgorithmIdentifier,
        fixed_extensions: Iterable[bytes] = (),
    ) -> CertificateTemplate:
        """Encode the shared parts.

        :param issuer: DER of the issuer's ``Name``.
        :param algorithm: with which the issuer will sign.
        :param fixed_extensions: DER of whole ``Extension`` elements
            (`Extension.encode`), no two of the same kind.
        :raises PKIError: ``INTERNAL`` when one is not an ``Extension`` or stands twice.
        """
        extensions = tuple(fixed_extensions)
        _check_distinct(extensions)
        head = algorithm.encode() + issuer
        return cls(issuer, algorithm, head, b"".join(extensions))

    def assemble(
        self,
        serial: int,
        not_before: datetime.datetime,
        not_after: datetime.datetime,
        subject: bytes,
        spki: bytes,
        variable_extensions: bytes = b"",
    ) -> bytes:
        """Encode one ``TBSCertificate``.

        :param serial: positive, at most `MAX_SERIAL_OCTETS` octets.
        :param not_before: aware; whole seconds are kept.
        :param not_after: aware and inclusive, not before ``not_before``.
        :param subject: DER of the subject's ``Name`` (``30 00`` for an empty one).
        :param spki: DER of ``SubjectPublicKeyInfo``, as it was received.
        :param variable_extensions: joined encoded ``Extension`` elements, of other
            kinds than the template's.
        :raises PKIError: ``INTERNAL`` when serial or validity break these rules: the
            caller should have seen to it.
        """
        if not 0 < serial < 1 << (8 * MAX_SERIAL_OCTETS - 1):
            raise PKIError(ErrorCode.INTERNAL, "serial number is out of range")
        if not_after < not_before:
            raise PKIError(ErrorCode.INTERNAL, "validity ends before it begins")
        validity = encode_time(not_before) + encode_time(not_after)
        octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
        body = (
            VERSION_3
            + b"\x02%c" % len(octets)
            + octets
            + self.head
            + b"\x30%c" % len(validity)
            + validity
            + subject
            + spki
        )
        extensions = self.fixed_extensions + variable_extensions
        if extensions:
            body += der.encode(0xA3, der.encode(der.SEQUENCE, extensions))
        return der.encode(der.SEQUENCE, body)


def _check_distinct(extensions: tuple[bytes, ...]) -> None:
    try:
        found = [
            Extension.decode(der.single(octets, der.SEQUENCE)).oid
            for octets in extensions
        ]
    except PKIError as error:
        raise PKIError(ErrorCode.INTERNAL, "template extension is malformed") from error
    if len(set(found)) != len(found):
        raise PKIError(ErrorCode.INTERNAL, "an extension stands twice in a template")


@lru_cache(maxsize=1024)
def encode_time(moment: datetime.datetime) -> bytes:
    """``Time`` of an aware moment: UTCTime through 2049, then GeneralizedTime.

    The same as `pkid.asn1.der.time`, without its conversions where the moment is in
    UTC already, which it is for every certificate that we make. Remembered, because
    what is signed within a second has the same times.

    :raises PKIError: ``INTERNAL`` for a naive moment.

    **Source:** RFC 5280 section 4.1.2.5.
    """
    if moment.tzinfo is not datetime.UTC:
        if moment.tzinfo is None:
            raise PKIError(ErrorCode.INTERNAL, "a time without time zone")
        return der.time(moment)
    year = moment.year
    if not 1950 <= year < 2050:
        return der.time(moment)
    return b"\x17\x0d%02d%02d%02d%02d%02d%02dZ" % (
        year % 100,
        moment.month,
        moment.day,
        moment.hour,
        moment.minute,
        moment.second,
    )


def encode_certificate(
    tbs: bytes, algorithm: AlgorithmIdentifier, signature: bytes
) -> bytes:
    """The whole ``Certificate``.

    :param tbs: from `CertificateTemplate.assemble`.
    :param algorithm: the template's.
    :param signature: octets of the signature over ``tbs``.
    """
    return encode_signed(tbs, algorithm, signature)


def serial_number(moment_seconds: int, random_octets: bytes) -> int:
    """A serial number: a prefix that grows with time, then random bits.

    Six octets of seconds (the top bit is clear until the year 2106 and beyond), then
    104 random bits: positive, 19 octets, and neighbours in an index when neighbours in
    time.

    :param moment_seconds: POSIX time, 1 to 2^47 - 1.
    :param random_octets: `RANDOM_OCTETS` octets from a CSPRNG.
    :raises PKIError: ``INTERNAL`` for arguments out of range.

    **Source:** RFC 5280 section 4.1.2.2; CA/Browser Forum baseline for the bits.
    """
    if not 0 < moment_seconds < 1 << (8 * PREFIX_OCTETS - 1):
        raise PKIError(ErrorCode.INTERNAL, "time of the serial number is out of range")
    if len(random_octets) != RANDOM_OCTETS:
        raise PKIError(ErrorCode.INTERNAL, "serial number needs 13 random octets")
    return moment_seconds << (8 * RANDOM_OCTETS) | int.from_bytes(random_octets, "big")


def not_after(
    not_before: datetime.datetime, period: datetime.timedelta
) -> datetime.datetime:
    """Inclusive end of a validity period: one second short of the sum.

    Clipped to `NO_EXPIRY`.

    :raises PKIError: ``INTERNAL`` for a period of less than one second.

    **Source:** RFC 5280 section 4.1.2.5 (both ends are included).
    """
    if period < _SECOND:
        raise PKIError(ErrorCode.INTERNAL, "validity period is shorter than a second")
    if period > NO_EXPIRY - not_before:
        return NO_EXPIRY
    return not_before + period - _SECOND
