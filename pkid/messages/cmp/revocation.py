"""Revocation in CMP: rr and rp.

Pure.

**Source:** RFC 9810 sections 5.3.9 and 5.3.10, appendix F.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der
from pkid.asn1.x509 import MAX_EXTENSIONS, Extension, encode_extensions
from pkid.messages.cmp.lists import (
    decode_list,
    encode_elements,
    optional_certificates,
    optional_elements,
)
from pkid.messages.cmp.status import PKIStatusInfo
from pkid.messages.crmf import CertId, CertTemplate

MAX_REV_DETAILS: Final = 64

_REV_CERTS: Final = 0xA0
_CRLS: Final = 0xA1


@dataclass(frozen=True, slots=True)
class RevDetails:
    """One certificate to be revoked.

    :ivar cert_details: describes the certificate.
    :ivar crl_entry_details: extensions asked for in the CRL entry.
    """

    cert_details: CertTemplate
    crl_entry_details: tuple[Extension, ...] = ()

    @classmethod
    def decode(cls, contents: bytes) -> RevDetails:
        """Read the contents octets of ``RevDetails``."""
        cursor = der.Cursor(contents)
        template = CertTemplate.decode(cursor.take(der.SEQUENCE))
        extensions = cursor.optional(der.SEQUENCE)
        cursor.finish()
        # Empty Extensions are read here: clients that name no reason send them. One
        # that stands twice is read too: it is no fault of the encoding (RFC 9483
        # section 4.2 has two reasons refused as badRequest).
        entries = der.sequences(extensions or b"", MAX_EXTENSIONS)
        return cls(template, tuple(map(Extension.decode, entries)))

    def encode(self) -> bytes:
        """The ``RevDetails`` SEQUENCE."""
        extensions = self.crl_entry_details
        return der.sequence(
            self.cert_details.encode(),
            encode_extensions(extensions) if extensions else b"",
        )


@dataclass(frozen=True, slots=True)
class RevReqContent:
    """rr: certificates to be revoked."""

    details: tuple[RevDetails, ...]

    @classmethod
    def decode(cls, element: bytes) -> RevReqContent:
        """Read ``RevReqContent``, whole."""
        return cls(decode_list(element, RevDetails.decode, MAX_REV_DETAILS))

    def encode(self) -> bytes:
        """The ``RevReqContent`` SEQUENCE."""
        return der.sequence(*(detail.encode() for detail in self.details))


@dataclass(frozen=True, slots=True)
class RevRepContent:
    """rp: what became of each revocation.

    :ivar rev_certs: the certificates, in the order of the statuses; () when absent.
    :ivar crls: resulting CRLs, each whole; () when absent.
    """

    statuses: tuple[PKIStatusInfo, ...]
    rev_certs: tuple[CertId, ...] = ()
    crls: tuple[bytes, ...] = ()

    @classmethod
    def decode(cls, element: bytes) -> RevRepContent:
        """Read ``RevRepContent``, whole."""
        cursor = der.Cursor(der.single(element, der.SEQUENCE))
        statuses = decode_list(
            cursor.raw(der.SEQUENCE), PKIStatusInfo.decode, MAX_REV_DETAILS
        )
        ids = optional_elements(cursor, _REV_CERTS, MAX_REV_DETAILS)
        crls = optional_certificates(cursor, _CRLS)
        cursor.finish()
        if not statuses:
            der.malformed("RevRepContent without a status")
        return cls(statuses, tuple(CertId.decode(element) for element in ids), crls)

    def encode(self) -> bytes:
        """The ``RevRepContent`` SEQUENCE."""
        ids = tuple(cert_id.encode() for cert_id in self.rev_certs)
        return der.sequence(
            der.sequence(*(status.encode() for status in self.statuses)),
            encode_elements(0, ids),
            encode_elements(1, self.crls),
        )
