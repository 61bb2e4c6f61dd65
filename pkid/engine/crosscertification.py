"""Which CA of another PKI asks to be certified by one of ours.

At an entrance for cross-certification nobody else asks: what it issues are CA
certificates. The CA signs with the key of the certificate that is trusted, or lets a
certificate sign that it issued itself for the purpose (id-kp-cmcCA). The certificate
that it gets bears its own name, whatever key it asks for.

**Source:** RFC 9810 sections 3.2.2, 4.5 and 5.3.11, appendix D.6.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime

from pkid.asn1 import oids
from pkid.crypto.certificates import Certificate, has_extended_key_usage
from pkid.crypto.chains import validate_chain
from pkid.engine.aliases import Alias, Policies, VendorTrust
from pkid.engine.model import Requester, RequesterKind
from pkid.errors import ErrorCode, PKIError


def find_peer(
    alias: Alias,
    leaf: bytes,
    others: Sequence[bytes],
    policies: Policies,
    now: datetime,
) -> Requester | None:
    """The trusted CA whose key, or whose own signer's, signed a request.

    :param leaf: DER; :param others: further certificates that came along, DER.
    :returns: None when no CA is trusted here or the signer is none of them.
    :raises PKIError: ``SIGNER_NOT_TRUSTED``, ``MISSING_INFORMATION`` for a signer of a
        trusted CA that does not verify.
    """
    signer = Certificate.decode(leaf)
    for trust, anchor in _anchors(alias, policies):
        if leaf != anchor.der and not _is_delegate(signer, anchor):
            continue
        validate_chain(
            signer,
            [Certificate.decode(octets) for octets in others],
            [anchor],
            now,
            min_rsa=trust.minimum_rsa_bits,
        )
        return Requester(
            kind=RequesterKind.AUTHORITY,
            identity=f"authority:{trust.name}:{_fingerprint(anchor)}",
            certificate_der=leaf,
            subject_pattern=glob.escape(anchor.subject.text()),
        )
    return None


def check_purpose(alias: Alias, requester: Requester) -> None:
    """Refuse devices where CAs are certified.

    :raises PKIError: ``NOT_AUTHORIZED``.
    """
    if alias.cross_certify and requester.kind is not RequesterKind.AUTHORITY:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "only certification authorities are certified here",
            hint=f"cross_certify of alias {alias.name}",
        )


def _anchors(
    alias: Alias, policies: Policies
) -> Iterator[tuple[VendorTrust, Certificate]]:
    for name in alias.cross_certify:
        trust = policies.vendors.get(name)
        if trust is not None:
            for octets in trust.anchors:
                yield trust, Certificate.decode(octets)


def _is_delegate(signer: Certificate, anchor: Certificate) -> bool:
    return signer.issuer.matches(anchor.subject) and has_extended_key_usage(
        signer, oids.ID_KP_CMC_CA
    )


def _fingerprint(certificate: Certificate) -> str:
    return hashlib.sha256(certificate.der).hexdigest()[:40]
