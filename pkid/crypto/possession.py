"""Proof that a requester holds the private key of what it wants certified.

Pure. A proof is the exact octets, the signature and its algorithm; every door makes
the same value (PKCS #10, CRMF), and one function checks it against the key.

**Source:** RFC 4211 section 4.1, RFC 2986 section 4.2, RFC 9810 section 5.2.8.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.mac import decode_mac_parameters, derive_mac_key
from pkid.crypto.publickeys import PublicKeyInfo
from pkid.crypto.signatures import SignedStructure
from pkid.errors import ErrorCode, PKIError


@dataclass(frozen=True, slots=True)
class SignedPossession:
    """A signature with the key that is to be certified.

    :ivar octets: what was signed, as it arrived: the ``CertRequest``, the
        ``POPOSigningKeyInput`` (with its SEQUENCE tag, not the ``[0]`` that stands on
        the wire) or the ``CertificationRequestInfo``.
    :ivar signature: octets of the BIT STRING.
    :ivar algorithm: of the signature.
    """

    octets: bytes
    signature: bytes
    algorithm: AlgorithmIdentifier

    @classmethod
    def from_request(cls, octets: bytes) -> SignedPossession:
        """The self-signature of a PKCS #10 request.

        :param octets: the ``CertificationRequest``, whole.
        :raises PKIError: ``MALFORMED``.

        **Source:** RFC 2986 section 4.2.
        """
        parts = SignedStructure.decode(octets)
        return cls(parts.signed, parts.signature, parts.algorithm)


@dataclass(frozen=True, slots=True)
class PublicKeyMAC:
    """``PKMACValue`` over a public key, by a secret shared with the requester.

    :ivar algorithm: of the MAC.
    :ivar value: octets of the BIT STRING.
    """

    algorithm: AlgorithmIdentifier
    value: bytes


def _bad_possession(detail: str) -> PKIError:
    return PKIError(ErrorCode.BAD_POSSESSION, detail)


def verify_possession(
    possession: SignedPossession,
    info: PublicKeyInfo,
    *,
    allow_sha1: bool = False,
    allow_null_parameters: bool = False,
) -> None:
    """Check a proof of possession against the key that it is about.

    :param allow_sha1: as in `verify_signature`; a proof is short-lived, so old
        devices are let in here before they are elsewhere.
    :raises PKIError: ``BAD_POSSESSION`` for a wrong signature and for an algorithm
        that is not accepted or does not fit; ``BAD_TEMPLATE`` for a broken key.

    **Source:** RFC 4211 section 4.1; RFC 9810 section 5.2.8.2.
    """
    try:
        info.verify(
            possession.algorithm,
            possession.signature,
            possession.octets,
            allow_sha1=allow_sha1,
            allow_null_parameters=allow_null_parameters,
        )
    except PKIError as error:
        if error.code is ErrorCode.BAD_TEMPLATE:
            raise
        raise _bad_possession(f"proof of possession: {error.detail}") from None


def check_signing_key_input(input_spki: bytes, template_spki: bytes | None) -> None:
    """Check that ``poposkInput`` is about the key of the template.

    :param input_spki: ``publicKey`` of ``POPOSigningKeyInput``, DER, whole.
    :param template_spki: ``publicKey`` of the template with its universal tag, or None
        when the template has none.
    :raises PKIError: ``BAD_POSSESSION`` when the two are not the same octets.

    **Source:** RFC 4211 section 4.1.
    """
    if template_spki is not None and input_spki != template_spki:
        raise _bad_possession("poposkInput is about another key than the template")


def verify_public_key_mac(mac: PublicKeyMAC, spki: bytes, secret: bytes) -> None:
    """Check ``publicKeyMAC``, which ties a key to a requester without a certificate.

    :param mac: from ``POPOSigningKeyInput``.
    :param spki: DER of the public key, whole, with its universal tag.
    :param secret: shared with the requester, in octets.
    :raises PKIError: ``BAD_POSSESSION`` when it does not match; ``BAD_ALGORITHM`` or
        ``MALFORMED`` when its parameters are refused, before anything is computed.

    **Source:** RFC 4211 sections 4.1 and 4.4.
    """
    key = derive_mac_key(decode_mac_parameters(mac.algorithm), secret)
    if not hmac.compare_digest(key.compute(spki), mac.value):
        raise _bad_possession("publicKeyMAC does not match")
