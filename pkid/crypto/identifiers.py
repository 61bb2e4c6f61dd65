"""How CMS names a certificate, and whether a name is this certificate's.

Pure.

**Source:** RFC 5652 sections 5.3, 6.2.1 and 10.2.4.
"""

from __future__ import annotations

from pkid.asn1.cms.content import (
    CertificateIdentifier,
    IssuerAndSerialNumber,
)
from pkid.crypto.certificates import Certificate, subject_key_identifier


def identifier_of(certificate: Certificate) -> IssuerAndSerialNumber:
    """Issuer and serial number of a certificate."""
    return IssuerAndSerialNumber(certificate.issuer.der, certificate.serial)


def key_identifier_of(certificate: Certificate) -> bytes:
    """Its ``subjectKeyIdentifier``, or what would stand there.

    :raises PKIError: ``MALFORMED``; as `pkid.crypto.publickeys.decode_spki` where there
        is no such extension.
    """
    found = subject_key_identifier(certificate)
    return certificate.public_key_info.key_id if found is None else found


def is_named(identifier: CertificateIdentifier, certificate: Certificate) -> bool:
    """Whether an identifier in a message names this certificate.

    Names are compared by octets: a sender has them from the certificate.

    :raises PKIError: as `key_identifier_of`.
    """
    if isinstance(identifier, IssuerAndSerialNumber):
        return identifier == identifier_of(certificate)
    return identifier.octets == key_identifier_of(certificate)
