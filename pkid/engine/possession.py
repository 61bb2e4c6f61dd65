"""Step 4 of the one path: whether the requester holds the key, and may show it so.

What a signature proves is computed here; what another exchange proved (a challenge, an
agreed MAC, the key itself) the door has seen and the request says.

**Source:** RFC 4211 section 4; RFC 9810 section 5.2.8.
"""

from __future__ import annotations

import hmac
from typing import Final

from pkid.crypto.algorithms import KeyKind
from pkid.crypto.possession import SignedPossession, verify_possession
from pkid.crypto.publickeys import PublicKeyInfo
from pkid.engine.aliases import Alias
from pkid.engine.model import (
    DecryptionPossession,
    EnrollmentRequest,
    GeneratedPossession,
    PossessionMethod,
    ProofOfPossession,
    ProvenPossession,
    Requester,
    RequesterKind,
    SystemPossession,
    VouchedPossession,
)
from pkid.engine.policy import CertificatePlan
from pkid.errors import ErrorCode, PKIError

_ENCRYPTING: Final = frozenset(("keyEncipherment", "keyAgreement"))
#: Keys that only sign: nothing can be encrypted for their owner.
SIGNING_ONLY: Final = frozenset(
    kind.value
    for kind in (
        KeyKind.ED25519,
        KeyKind.ED448,
        KeyKind.ML_DSA_44,
        KeyKind.ML_DSA_65,
        KeyKind.ML_DSA_87,
    )
)


def check(request: EnrollmentRequest, plan: CertificatePlan, alias: Alias) -> None:
    """Check the proof of possession of a request, and that its kind is taken here.

    :param plan: what would be signed.
    :raises PKIError: ``BAD_POSSESSION`` for no proof, a wrong one, or one that is not
        taken; ``NOT_AUTHORIZED`` when another than a registration authority vouches.
    """
    proof, key = request.possession, plan.key
    match proof:
        case SignedPossession():
            check_taken(PossessionMethod.SIGNATURE, alias)
            verify_possession(proof, key, allow_sha1=alias.sha1_possession)
        case VouchedPossession() | SystemPossession():
            _check_vouched(proof, request.requester)
        case ProvenPossession():
            _check_proven(proof, key, alias)
        case DecryptionPossession():
            _check_decryption(request, plan, alias)
        case GeneratedPossession():
            # That keys are made here was checked when this one was made.
            return


def check_taken(method: PossessionMethod, alias: Alias) -> None:
    """Refuse a way to prove possession that an alias does not take.

    :raises PKIError: ``BAD_POSSESSION``: the client may try another.

    **Source:** RFC 9810 section 5.2.8.4.
    """
    if method not in alias.possession:
        raise PKIError(
            ErrorCode.BAD_POSSESSION,
            f"possession is not proven by {method.value} here",
            hint=f"possession of alias {alias.name}",
        )


def _check_vouched(
    proof: VouchedPossession | SystemPossession, requester: Requester
) -> None:
    if isinstance(proof, SystemPossession):
        if requester.kind is not RequesterKind.SYSTEM:
            raise _refused("no proof of possession")
    elif requester.kind is not RequesterKind.REGISTRATION_AUTHORITY:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "only a registration authority vouches for possession",
        )


def check_can_decrypt(key: PublicKeyInfo) -> None:
    """Refuse to have a key that only signs prove itself by decryption.

    :raises PKIError: ``BAD_POSSESSION``.
    """
    if key.family in SIGNING_ONLY:
        raise _refused(f"nothing can be encrypted to {key.family} keys")


def describe(request: EnrollmentRequest) -> str:
    """For the audit: how possession was shown; "" for a signature, as most do."""
    shown = _describe(request.possession)
    if not request.archived:
        return shown
    return "; ".join(filter(None, (shown, "the private key is archived")))


def _describe(proof: ProofOfPossession) -> str:
    match proof:
        case SignedPossession() | SystemPossession():
            return ""
        case VouchedPossession():
            return "possession vouched for by a registration authority"
        case ProvenPossession():
            return f"possession by {proof.method.value}"
        case DecryptionPossession():
            return "possession by encrypted-certificate, once it is confirmed"
        case GeneratedPossession():
            return "the key was made here"


def _check_proven(proof: ProvenPossession, key: PublicKeyInfo, alias: Alias) -> None:
    check_taken(proof.method, alias)
    if not hmac.compare_digest(proof.key, key.fingerprint):
        raise _refused("another key was proven than the request has")


def _check_decryption(
    request: EnrollmentRequest, plan: CertificatePlan, alias: Alias
) -> None:
    check_taken(PossessionMethod.ENCRYPTED_CERTIFICATE, alias)
    if alias.upstream:
        # What another CA signs is not ours to hold back until it is confirmed.
        raise _refused("before another CA possession is proven by other ways")
    check_can_decrypt(plan.key)
    if plan.key_usage.isdisjoint(_ENCRYPTING):
        raise _refused("the certificate would not be for encryption: sign the request")
    if request.confirmation is None:
        # The confirmation is the proof: there is no leaving it out.
        raise PKIError(
            ErrorCode.INTERNAL, "an encrypted certificate without a confirmation"
        )


def _refused(detail: str) -> PKIError:
    return PKIError(ErrorCode.BAD_POSSESSION, detail)
