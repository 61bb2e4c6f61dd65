"""CRLs of other people's CAs: whether a certificate of a chain stands on one.

Pure. Which lists there are is the caller's business; none is ever fetched.

**Source:** RFC 5280 sections 5 and 6.3.
"""

from __future__ import annotations

import datetime
import enum
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from cryptography import x509

from pkid.asn1.names import Name
from pkid.crypto.certificates import Certificate
from pkid.crypto.publickeys import decode_spki
from pkid.crypto.signatures import SignedStructure
from pkid.errors import ErrorCode, PKIError

MAX_LISTS: Final = 64


class Standing(enum.Enum):
    """What the lists say of a chain."""

    GOOD = "good"
    UNKNOWN = "unknown"  # a list is missing, not yet valid, too old, or not its CA's
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class RevocationList:
    """One CRL; equality is of octets.

    :ivar der: whole.
    :ivar issuer: whose certificates it is about.
    """

    der: bytes
    issuer: Name = field(compare=False)
    parsed: x509.CertificateRevocationList = field(compare=False, repr=False)

    @classmethod
    def decode(cls, octets: bytes) -> RevocationList:
        """Read a CRL.

        :raises PKIError: ``MALFORMED``; ``UNACCEPTED_EXTENSION`` for a list that holds
            only some certificates of its CA, or certificates of others.
        """
        try:
            parsed = x509.load_der_x509_crl(octets)
            issuer = Name.decode(parsed.issuer.public_bytes())
            critical = [one.oid for one in parsed.extensions if one.critical]
        except ValueError as error:
            raise PKIError(ErrorCode.MALFORMED, "not a CRL") from error
        if critical:
            # issuingDistributionPoint and deltaCRLIndicator are critical: such a list
            # says nothing of a certificate that is not on it.
            raise PKIError(
                ErrorCode.UNACCEPTED_EXTENSION,
                f"the CRL has the critical extension {critical[0].dotted_string}",
            )
        return cls(octets, issuer, parsed)

    def is_current(self, at: datetime.datetime) -> bool:
        """Whether it was issued before, and the next one is still to come."""
        until = self.parsed.next_update_utc
        return self.parsed.last_update_utc <= at and (until is None or at <= until)

    def names(self, serial: int) -> bool:
        """Whether a certificate of this serial number is on it."""
        found = self.parsed.get_revoked_certificate_by_serial_number(serial)
        return found is not None


@lru_cache(maxsize=MAX_LISTS)
def read_list(octets: bytes) -> RevocationList:
    """`RevocationList.decode`, once for the same octets."""
    return RevocationList.decode(octets)


@lru_cache(maxsize=MAX_LISTS)
def _is_by(listed: RevocationList, spki: bytes, *, allow_sha1: bool) -> bool:
    signed = SignedStructure.decode(listed.der)
    try:
        signed.verify(decode_spki(spki).load(), allow_sha1=allow_sha1)
    except PKIError:
        return False
    return True


def standing_of(
    path: Sequence[Certificate],
    lists: Iterable[RevocationList],
    at: datetime.datetime,
    *,
    allow_sha1: bool = False,
) -> Standing:
    """What CRLs say of a chain, its anchor excepted.

    :param path: leaf first, anchor last.
    :param allow_sha1: take lists signed with SHA-1.
    :returns: revoked when any certificate of it is, also on a list that is too old;
        unknown when there is no current list for one of them.

    Cost: a signature check for a list that is seen for the first time.
    """
    known = tuple(lists)
    found = Standing.GOOD
    for certificate, issuer in itertools.pairwise(path):
        fitting = [
            one
            for one in known
            if one.issuer.matches(certificate.issuer)
            and _is_by(one, issuer.spki, allow_sha1=allow_sha1)
        ]
        if any(one.names(certificate.serial) for one in fitting):
            return Standing.REVOKED
        if not any(one.is_current(at) for one in fitting):
            found = Standing.UNKNOWN
    return found
