"""What a shared secret is bound to, and whether a certificate keeps to it.

A one-time challenge that anybody could use for any name would let one device ask for
another one's (CERT/CC VU#971035).

**Source:** security requirements SCEP-46, SEC-21.
"""

from __future__ import annotations

import fnmatch
import hmac

from pkid.engine.model import UNBOUND, CredentialBinding
from pkid.engine.policy import CertificatePlan
from pkid.errors import ErrorCode, PKIError


def check_binding(binding: CredentialBinding, plan: CertificatePlan) -> None:
    """Refuse a certificate beyond what the requester's secret is bound to.

    :raises PKIError: ``NOT_AUTHORIZED``.
    """
    if binding is UNBOUND:
        return
    for name in plan.alternative_names:
        patterns = binding.alternative_names
        text = name.text()
        if patterns and not any(fnmatch.fnmatchcase(text, one) for one in patterns):
            raise _beyond(f"alternative names {', '.join(patterns)}")
    if binding.profile and plan.profile.name != binding.profile:
        raise _beyond(f"certificate profile {binding.profile}")
    if binding.key_hash and not hmac.compare_digest(
        binding.key_hash, plan.key.fingerprint
    ):
        raise _beyond(f"the public key {binding.key_hash.hex()}")


def _beyond(what: str) -> PKIError:
    return PKIError(
        ErrorCode.NOT_AUTHORIZED,
        "the secret does not allow this certificate",
        hint=f"the secret is bound to {what}",
    )
