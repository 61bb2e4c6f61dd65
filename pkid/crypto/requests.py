"""Encode a certification request: what one of our CAs asks another PKI to sign.

**Source:** RFC 2986 section 4.
"""

from __future__ import annotations

from pkid.asn1 import der
from pkid.asn1.names import Name


def certification_request_info(subject: Name, public_key: bytes) -> bytes:
    """A ``CertificationRequestInfo`` without attributes; its signature is to follow.

    :param public_key: SubjectPublicKeyInfo.
    """
    attributes = der.explicit(0)
    return der.sequence(der.integer(0), subject.der, public_key, attributes)
