"""MAC protection from a shared secret: PasswordBasedMac and PBMAC1.

Pure. The parameters come from the sender, the work is ours: `decode_mac_parameters`
holds every bound before anything is computed, so a decoded value is safe to derive
from. A response that mirrors the request's parameters uses the request's `MacKey`
again, and no second derivation is needed.

**Source:** RFC 9810 section 5.1.3.1, RFC 4211 section 4.4, RFC 9045, RFC 8018 sections
5.2 and 7.1, RFC 9481 section 6.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import digest_size, hash_name_of, refuse
from pkid.errors import ErrorCode, PKIError

MIN_ITERATIONS: Final = 100
MAX_ITERATIONS: Final = 100_000
SLICE: Final = 1000
MIN_SALT_OCTETS: Final = 8
MAX_SALT_OCTETS: Final = 128
MIN_KEY_OCTETS: Final = 16
MAX_KEY_OCTETS: Final = 128
MAX_MAC_OCTETS: Final = 128

# RFC 9481 section 6.2.1 and, for HMAC-SHA1, also the older OID of RFC 2104 users.
HMAC_NAMES: Final = {
    oids.HMAC_SHA1: "sha1",
    oids.ID_HMAC_WITH_SHA1: "sha1",
    oids.ID_HMAC_WITH_SHA224: "sha224",
    oids.ID_HMAC_WITH_SHA256: "sha256",
    oids.ID_HMAC_WITH_SHA384: "sha384",
    oids.ID_HMAC_WITH_SHA512: "sha512",
}
_DEFAULT_PRF: Final = AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA1, der.NULL)
# One-way functions that RFC 9481 and old clients name; SHA-3 is there for agility.
_ONE_WAY_FUNCTIONS: Final = frozenset(
    {"sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512"}
)


def hmac_name_of(algorithm: AlgorithmIdentifier) -> str:
    """Digest of an HMAC; parameters absent or NULL.

    :raises PKIError: ``BAD_ALGORITHM`` for any other MAC.
    """
    name = HMAC_NAMES.get(algorithm.oid)
    if name is None:
        raise refuse(f"unknown MAC algorithm {algorithm.oid}")
    if algorithm.parameters not in (None, der.NULL):
        raise refuse("HMAC with parameters")
    return name


def _check_salt(salt: bytes) -> None:
    if not MIN_SALT_OCTETS <= len(salt) <= MAX_SALT_OCTETS:
        raise refuse(
            f"salt of {len(salt)} octets: {MIN_SALT_OCTETS} to {MAX_SALT_OCTETS} "
            "are accepted"
        )


def _check_iterations(iterations: int) -> None:
    if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise refuse(
            f"iteration count is not {MIN_ITERATIONS} to {MAX_ITERATIONS}",
        )


@dataclass(frozen=True, slots=True)
class PBMParameters:
    """``PBMParameter``, known to be within bounds.

    :ivar salt: `MIN_SALT_OCTETS` to `MAX_SALT_OCTETS` octets.
    :ivar owf: one-way function, identifier as received (mirrored in the response).
    :ivar iterations: `MIN_ITERATIONS` to `MAX_ITERATIONS`.
    :ivar mac: HMAC, identifier as received.
    :raises PKIError: ``BAD_ALGORITHM`` on construction out of bounds.
    """

    salt: bytes
    owf: AlgorithmIdentifier
    iterations: int
    mac: AlgorithmIdentifier
    owf_name: str = field(init=False)
    mac_name: str = field(init=False)

    def __post_init__(self) -> None:
        _check_salt(self.salt)
        _check_iterations(self.iterations)
        object.__setattr__(self, "owf_name", hash_name_of(self.owf))
        object.__setattr__(self, "mac_name", hmac_name_of(self.mac))
        if self.owf_name not in _ONE_WAY_FUNCTIONS:
            raise refuse(f"{self.owf_name} is not accepted as one-way function")


@dataclass(frozen=True, slots=True)
class PBMAC1Parameters:
    """``PBMAC1-params`` with PBKDF2, known to be within bounds.

    :ivar salt: `MIN_SALT_OCTETS` to `MAX_SALT_OCTETS` octets.
    :ivar iterations: `MIN_ITERATIONS` to `MAX_ITERATIONS`.
    :ivar prf: pseudo-random function, identifier as received.
    :ivar mac: HMAC, identifier as received.
    :ivar key_length: octets of the MAC key as stated, or None when left out (then the
        size of the MAC's digest).
    :raises PKIError: ``BAD_ALGORITHM`` on construction out of bounds.
    """

    salt: bytes
    iterations: int
    prf: AlgorithmIdentifier
    mac: AlgorithmIdentifier
    key_length: int | None = None
    prf_name: str = field(init=False)
    mac_name: str = field(init=False)

    def __post_init__(self) -> None:
        _check_salt(self.salt)
        _check_iterations(self.iterations)
        object.__setattr__(self, "prf_name", hmac_name_of(self.prf))
        object.__setattr__(self, "mac_name", hmac_name_of(self.mac))
        length = self.key_length
        if length is not None and not MIN_KEY_OCTETS <= length <= MAX_KEY_OCTETS:
            raise refuse(f"PBMAC1 key length is not {MIN_KEY_OCTETS}..{MAX_KEY_OCTETS}")


MacParameters = PBMParameters | PBMAC1Parameters


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MacKey:
    """A derived MAC key with the parameters that it came from; shows nothing of it.

    :ivar parameters: to be mirrored in the response, which then uses this very key.
    """

    parameters: MacParameters
    _key: bytes

    def __repr__(self) -> str:
        return f"MacKey({type(self.parameters).__name__})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a MacKey is not to be copied out of the process")

    def compute(self, data: bytes) -> bytes:
        """MAC over ``data``."""
        return hmac.digest(self._key, data, self.parameters.mac_name)

    def verify(self, data: bytes, mac: bytes) -> None:
        """Check a MAC in constant time.

        :param data: the protected octets exactly as they arrived.
        :param mac: octets of the received MAC, whole (a truncated one is wrong).
        :raises PKIError: ``BAD_MESSAGE_CHECK`` when it does not match.
        """
        if not hmac.compare_digest(self.compute(data), mac):
            raise PKIError(ErrorCode.BAD_MESSAGE_CHECK, "the MAC does not verify")


def derive_mac_key(parameters: MacParameters, secret: bytes) -> MacKey:
    """Derive the MAC key from the shared secret.

    :param secret: in octets; neither kept nor shown.

    Cost: 0.22 us an iteration for SHA-256 (22 ms at the limit), for PBM with the GIL
    held.

    **Source:** RFC 9810 section 5.1.3.1; RFC 8018 section 7.1.
    """
    if isinstance(parameters, PBMParameters):
        base = _iterate(parameters, secret)
        # HMAC takes a key of any size: BASEKEY is used whole (RFC 4211 section 4.4).
        return MacKey(parameters, base)
    length = parameters.key_length or digest_size(parameters.mac_name)
    key = hashlib.pbkdf2_hmac(
        parameters.prf_name, secret, parameters.salt, parameters.iterations, length
    )
    return MacKey(parameters, key)


def derive_mac_key_in_slices(
    parameters: PBMParameters, secret: bytes
) -> Generator[None, None, MacKey]:
    """`derive_mac_key`, pausing after every `SLICE` iterations.

    The loop holds the interpreter's lock, in whatever thread: a dear derivation that
    runs through keeps everybody else waiting.
    """
    function = getattr(hashlib, parameters.owf_name)
    value = secret + parameters.salt
    for done in range(0, parameters.iterations, SLICE):
        if done:
            yield
        for _ in range(min(SLICE, parameters.iterations - done)):
            value = function(value).digest()
    return MacKey(parameters, value)


def _iterate(parameters: PBMParameters, secret: bytes) -> bytes:
    """BASEKEY: the one-way function, ``iterations`` times, over secret and salt."""
    function = getattr(hashlib, parameters.owf_name)
    value: bytes = function(secret + parameters.salt).digest()
    for _ in range(parameters.iterations - 1):
        value = function(value).digest()
    return value


def expand_key(base_key: bytes, owf_name: str, size: int) -> bytes:
    """Cut or stretch BASEKEY to the key size of a MAC that demands one.

    All of BASEKEY, then OWF("1" || BASEKEY), OWF("2" || BASEKEY) and so on, the number
    in ASCII, as far as needed. HMAC demands no size and does not need this.

    :param size: octets wanted, 1 to `MAX_KEY_OCTETS`.
    :raises PKIError: ``BAD_ALGORITHM`` for a size out of range.

    **Source:** RFC 9810 section 5.1.3.1 (which rules over RFC 4211's silence).
    """
    if not 1 <= size <= MAX_KEY_OCTETS:
        raise refuse("MAC key size is out of range")
    function = getattr(hashlib, owf_name)
    key = bytearray(base_key)
    number = 0
    while len(key) < size:
        number += 1
        key += function(str(number).encode("ascii") + base_key).digest()
    return bytes(key[:size])


def with_salt(parameters: MacParameters, salt: bytes) -> MacParameters:
    """The same algorithms and count with a fresh salt, which the caller draws.

    :raises PKIError: ``BAD_ALGORITHM`` when the salt is too short or too long.
    """
    return replace(parameters, salt=salt)


# --- parameters as octets -----------------------------------------------------


def decode_mac_parameters(algorithm: AlgorithmIdentifier) -> MacParameters:
    """Read the parameters of a MAC ``protectionAlg``; nothing is computed.

    :raises PKIError: ``MALFORMED`` when they do not decode, ``BAD_ALGORITHM`` when the
        algorithm or one within is unknown, or a number is out of bounds.

    **Source:** RFC 4211 section 4.4; RFC 8018 appendices A.2 and A.5.
    """
    if algorithm.oid == oids.ID_PASSWORD_BASED_MAC:
        return _decode_pbm(_contents(algorithm))
    if algorithm.oid == oids.ID_PBMAC1:
        return _decode_pbmac1(_contents(algorithm))
    raise refuse(f"unknown MAC protection algorithm {algorithm.oid}")


def is_mac_algorithm(algorithm: AlgorithmIdentifier) -> bool:
    """Whether this is a password-based MAC of ours (else, most likely, a signature)."""
    return algorithm.oid in {oids.ID_PASSWORD_BASED_MAC, oids.ID_PBMAC1}


def _contents(algorithm: AlgorithmIdentifier) -> der.Cursor:
    if algorithm.parameters is None:
        der.malformed("MAC algorithm without parameters")
    return der.Cursor(der.single(algorithm.parameters, der.SEQUENCE))


def _algorithm(cursor: der.Cursor) -> AlgorithmIdentifier:
    return AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))


def _decode_pbm(cursor: der.Cursor) -> PBMParameters:
    salt = cursor.take(der.OCTET_STRING)
    owf = _algorithm(cursor)
    iterations = der.decode_integer(cursor.take(der.INTEGER))
    mac = _algorithm(cursor)
    cursor.finish()
    return PBMParameters(salt, owf, iterations, mac)


def _decode_pbmac1(cursor: der.Cursor) -> PBMAC1Parameters:
    derivation = _algorithm(cursor)
    mac = _algorithm(cursor)
    cursor.finish()
    if derivation.oid != oids.ID_PBKDF2:
        raise refuse("PBMAC1 with a key derivation function other than PBKDF2")
    fields = _contents(derivation)
    if not fields.at(der.OCTET_STRING):
        raise refuse("PBKDF2 with a salt source other than an octet string")
    salt = fields.take(der.OCTET_STRING)
    iterations = der.decode_integer(fields.take(der.INTEGER))
    length = None
    if fields.at(der.INTEGER):
        length = der.decode_integer(fields.take(der.INTEGER))
    prf = _algorithm(fields) if fields else _DEFAULT_PRF
    fields.finish()
    return PBMAC1Parameters(salt, iterations, prf, mac, length)


def encode_mac_parameters(parameters: MacParameters) -> AlgorithmIdentifier:
    """The ``protectionAlg`` for these parameters.

    A default ``prf`` is left out, as DER wants it.
    """
    if isinstance(parameters, PBMParameters):
        octets = der.sequence(
            der.octet_string(parameters.salt),
            parameters.owf.encode(),
            der.integer(parameters.iterations),
            parameters.mac.encode(),
        )
        return AlgorithmIdentifier(oids.ID_PASSWORD_BASED_MAC, octets)
    length = parameters.key_length
    derivation = der.sequence(
        der.octet_string(parameters.salt),
        der.integer(parameters.iterations),
        b"" if length is None else der.integer(length),
        b"" if parameters.prf == _DEFAULT_PRF else parameters.prf.encode(),
    )
    octets = der.sequence(
        AlgorithmIdentifier(oids.ID_PBKDF2, derivation).encode(),
        parameters.mac.encode(),
    )
    return AlgorithmIdentifier(oids.ID_PBMAC1, octets)
