"""Announcements of a CA: new key (ckuann), certificate, revocation, CRLs.

Pure.

**Source:** RFC 9810 sections 5.3.13 to 5.3.16 and 5.3.19.15, appendix F; RFC 4210 for
``CAKeyUpdAnnContent``.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der
from pkid.asn1.x509 import Extension, decode_extensions, encode_extensions
from pkid.messages.cmp.lists import MAX_CERTIFICATES
from pkid.messages.cmp.status import PKIStatus, decode_status
from pkid.messages.crmf import CertId
from pkid.messages.opentypes import checked_sequence

_NEW_WITH_OLD: Final = 0xA0
_OLD_WITH_NEW: Final = 0xA1
_ANN_V3: Final = 0xA0


@dataclass(frozen=True, slots=True, kw_only=True)
class CAKeyUpdAnnContent:
    """A new CA key as version 2 announces it; certificates, each whole.

    :ivar old_with_new: the old key, signed with the new.
    :ivar new_with_old: the new key, signed with the old.
    :ivar new_with_new: the new key, signed with itself.
    """

    old_with_new: bytes
    new_with_old: bytes
    new_with_new: bytes

    @classmethod
    def decode(cls, element: bytes) -> CAKeyUpdAnnContent:
        """Read ``CAKeyUpdAnnContent``, whole.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(element, der.SEQUENCE))
        old_with_new = cursor.raw(der.SEQUENCE)
        new_with_old = cursor.raw(der.SEQUENCE)
        new_with_new = cursor.raw(der.SEQUENCE)
        cursor.finish()
        return cls(
            old_with_new=old_with_new,
            new_with_old=new_with_old,
            new_with_new=new_with_new,
        )

    def encode(self) -> bytes:
        """The ``CAKeyUpdAnnContent`` SEQUENCE."""
        return der.sequence(self.old_with_new, self.new_with_old, self.new_with_new)


@dataclass(frozen=True, slots=True, kw_only=True)
class RootCaKeyUpdateContent:
    """A new root key as version 3 tells of it; certificates, each whole.

    :ivar new_with_new: the new key, signed with itself.
    :ivar new_with_old: the new key, signed with the old.
    :ivar old_with_new: the old key, signed with the new.
    """

    new_with_new: bytes
    new_with_old: bytes | None = None
    old_with_new: bytes | None = None

    @classmethod
    def decode(cls, element: bytes) -> RootCaKeyUpdateContent:
        """Read ``RootCaKeyUpdateContent``, whole.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(element, der.SEQUENCE))
        new_with_new = cursor.raw(der.SEQUENCE)
        new_with_old = cursor.optional(_NEW_WITH_OLD)
        old_with_new = cursor.optional(_OLD_WITH_NEW)
        cursor.finish()
        return cls(
            new_with_new=new_with_new,
            new_with_old=_optional_sequence(new_with_old),
            old_with_new=_optional_sequence(old_with_new),
        )

    def encode(self) -> bytes:
        """The ``RootCaKeyUpdateContent`` SEQUENCE."""
        old = self.new_with_old
        new = self.old_with_new
        return der.sequence(
            self.new_with_new,
            b"" if old is None else der.explicit(0, old),
            b"" if new is None else der.explicit(1, new),
        )


@dataclass(frozen=True, slots=True)
class CAKeyUpdContent:
    """ckuann: a new CA key, in the form of version 2 or 3."""

    update: CAKeyUpdAnnContent | RootCaKeyUpdateContent

    @classmethod
    def decode(cls, element: bytes) -> CAKeyUpdContent:
        """Read ``CAKeyUpdContent``, whole.

        :raises PKIError: ``MALFORMED``.
        """
        if element[:1] != bytes((_ANN_V3,)):
            return cls(CAKeyUpdAnnContent.decode(element))
        return cls(RootCaKeyUpdateContent.decode(der.single(element, _ANN_V3)))

    def encode(self) -> bytes:
        """The ``CAKeyUpdContent``: a SEQUENCE, or ``[0]`` in version 3."""
        if isinstance(self.update, CAKeyUpdAnnContent):
            return self.update.encode()
        return der.explicit(0, self.update.encode())


@dataclass(frozen=True, slots=True)
class CertAnnContent:
    """cann: a certificate, whole."""

    certificate: bytes

    @classmethod
    def decode(cls, element: bytes) -> CertAnnContent:
        """Read ``CertAnnContent``, whole.

        :raises PKIError: ``MALFORMED``.
        """
        return cls(checked_sequence(element))

    def encode(self) -> bytes:
        """The certificate."""
        return self.certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class RevAnnContent:
    """rann: a certificate was revoked, or will be.

    :ivar will_be_revoked_at: when the entry comes into the CRL; aware, UTC.
    :ivar bad_since_date: aware, UTC.
    :ivar crl_details: what else the CRL will say.
    """

    status: PKIStatus
    cert_id: CertId
    will_be_revoked_at: datetime.datetime
    bad_since_date: datetime.datetime
    crl_details: tuple[Extension, ...] = ()

    @classmethod
    def decode(cls, element: bytes) -> RevAnnContent:
        """Read ``RevAnnContent``, whole.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(element, der.SEQUENCE))
        status = decode_status(cursor.take(der.INTEGER))
        cert_id = CertId.decode(cursor.raw(der.SEQUENCE))
        revoked_at = der.decode_generalized_time(cursor.take(der.GENERALIZED_TIME))
        bad_since = der.decode_generalized_time(cursor.take(der.GENERALIZED_TIME))
        details = cursor.optional(der.SEQUENCE)
        cursor.finish()
        if details == b"":
            der.malformed("crlDetails without an extension")
        return cls(
            status=status,
            cert_id=cert_id,
            will_be_revoked_at=revoked_at,
            bad_since_date=bad_since,
            crl_details=decode_extensions(details or b""),
        )

    def encode(self) -> bytes:
        """The ``RevAnnContent`` SEQUENCE."""
        return der.sequence(
            der.integer(self.status),
            self.cert_id.encode(),
            der.generalized_time(self.will_be_revoked_at),
            der.generalized_time(self.bad_since_date),
            encode_extensions(self.crl_details) if self.crl_details else b"",
        )


@dataclass(frozen=True, slots=True)
class CRLAnnContent:
    """crlann: new CRLs, each whole."""

    crls: tuple[bytes, ...]

    @classmethod
    def decode(cls, element: bytes) -> CRLAnnContent:
        """Read ``CRLAnnContent``, whole: 0 to `MAX_CERTIFICATES` CRLs.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(element, der.SEQUENCE))
        crls = cursor.raw_elements(MAX_CERTIFICATES)
        return cls(tuple(checked_sequence(crl) for crl in crls))

    def encode(self) -> bytes:
        """The SEQUENCE OF ``CertificateList``."""
        return der.sequence(*self.crls)


def _optional_sequence(element: bytes | None) -> bytes | None:
    return None if element is None else checked_sequence(element)
