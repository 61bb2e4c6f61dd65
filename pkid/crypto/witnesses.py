"""Witnesses of CMC: who knows a shared secret proves it over some octets.

Pure. The key is a digest of the secret, of secret and identification when the sender
says who it is. SHA-1 may stand here: it is keyed, and old clients know no other.

**Source:** RFC 5272 sections 6.2.1 to 6.2.3 and 6.3.1; RFC 6402 section 2.1.
"""

from __future__ import annotations

import hmac

from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import digest, hash_name_of
from pkid.crypto.mac import hmac_name_of
from pkid.errors import ErrorCode, PKIError


def verify_witness(
    covered: bytes,
    value: bytes,
    *,
    hash_algorithm: AlgorithmIdentifier,
    mac_algorithm: AlgorithmIdentifier,
    secret: bytes,
    identification: bytes = b"",
) -> None:
    """Check a witness.

    :param covered: octets that it is about, as they arrived.
    :param identification: UTF-8 of the identification control; empty without one.
    :raises PKIError: ``BAD_MESSAGE_CHECK`` when it does not match; ``BAD_ALGORITHM``.
    """
    key = digest(hash_name_of(hash_algorithm), secret + identification)
    wanted = hmac.digest(key, covered, hmac_name_of(mac_algorithm))
    if not hmac.compare_digest(wanted, value):
        raise PKIError(ErrorCode.BAD_MESSAGE_CHECK, "the identity proof does not match")
