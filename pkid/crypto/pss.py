"""RSASSA-PSS with SHAKE, which ``cryptography`` does not have: verifying only.

Verification works on public values, so Python's integers will do. Where RFC 8017 uses
MGF1, RFC 8692 uses the SHAKE itself as mask generator, and the salt has the length of
the digest (32 octets for SHAKE128, 64 for SHAKE256).

**Source:** RFC 8017 sections 8.1.2 and 9.1.2, RFC 8692 section 2.1.
"""

from __future__ import annotations

import hashlib
import hmac

from pkid.crypto.algorithms import digest, digest_size


def verify_shake_pss(
    modulus: int, exponent: int, hash_name: str, signature: bytes, data: bytes
) -> bool:
    """Whether ``signature`` is right; the caller turns False into its refusal.

    :param modulus: RSA modulus, size checked by the caller.
    :param exponent: RSA public exponent, size checked by the caller.
    :param hash_name: ``shake128`` or ``shake256``.

    Cost: one modular exponentiation in Python (RSA-2048: 0.2 ms).
    """
    size = (modulus.bit_length() + 7) // 8
    representative = int.from_bytes(signature, "big")
    if len(signature) != size or representative >= modulus:
        return False
    bits = modulus.bit_length() - 1
    message = pow(representative, exponent, modulus)
    if message.bit_length() > bits:
        return False
    encoded = message.to_bytes((bits + 7) // 8, "big")
    return _check_encoding(encoded, bits, hash_name, digest(hash_name, data))


def _check_encoding(encoded: bytes, bits: int, hash_name: str, hashed: bytes) -> bool:
    """``EMSA-PSS-VERIFY`` with a salt as long as the digest."""
    size = digest_size(hash_name)
    mask_size = len(encoded) - size - 1
    padding_size = mask_size - size - 1
    if padding_size < 0 or encoded[-1] != 0xBC:
        return False
    masked, expected = encoded[:mask_size], encoded[mask_size:-1]
    shake = hashlib.shake_128 if hash_name == "shake128" else hashlib.shake_256
    mask = int.from_bytes(shake(expected).digest(mask_size), "big")
    # The leftmost bits beyond the modulus' size are not part of the value.
    block = (int.from_bytes(masked, "big") ^ mask) & (
        (1 << (8 * mask_size - (8 * len(encoded) - bits))) - 1
    )
    database = block.to_bytes(mask_size, "big")
    if database[:padding_size].strip(b"\x00") or database[padding_size] != 0x01:
        return False
    salt = database[padding_size + 1 :]
    return hmac.compare_digest(digest(hash_name, bytes(8) + hashed + salt), expected)
