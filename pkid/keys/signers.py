"""Typed handles on private keys: each signs one kind of thing and nothing else.

The key itself is not an attribute of a handle; it lives in the closure that signs.
EC and EdDSA sign where they are called; RSA and ML-DSA, which take long, go to the
workers. Every RSA signature is verified before it leaves: one faulty signature made
with the Chinese remainder theorem gives the key away.

**Source:** DESIGN section 3; faults FLT-34.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.defer import Deferred, execute, fail

from pkid.asn1 import der
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import (
    KeyKind,
    PrivateKey,
    PublicKey,
    key_kind,
    signature_algorithm_for,
)
from pkid.crypto.signatures import sign, verify_signature
from pkid.engine.model import PreparedCertificate
from pkid.engine.ports import Workers
from pkid.errors import ErrorCode, PKIError

#: Signs octets with an algorithm that fits the key.
Sign = Callable[[AlgorithmIdentifier, bytes], Deferred[bytes]]

#: What is longer is signed by the workers, whatever the key.
MAX_QUICK_OCTETS: Final = 256 * 1024
_QUICK: Final = (KeyKind.EC, KeyKind.ED25519, KeyKind.ED448)
_TIMES: Final = (der.UTC_TIME, der.GENERALIZED_TIME)
_VERSION: Final = der.constructed(0)


def public_octets(key: PublicKey) -> bytes:
    """SubjectPublicKeyInfo of a key."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signing(
    private_key: PrivateKey, workers: Workers, *, allow_sha1: bool = False
) -> Sign:
    """The function that signs with a key, which nothing else holds.

    :param workers: where RSA and ML-DSA are computed.
    :param allow_sha1: sign with SHA-1 when asked to: messages to old SCEP clients,
        never a certificate (SCEP-64).
    """
    public_key = cast(PublicKey, private_key.public_key())

    def sign_checked(algorithm: AlgorithmIdentifier, octets: bytes) -> bytes:
        signature = sign(private_key, algorithm, octets, allow_sha1=allow_sha1)
        if isinstance(private_key, rsa.RSAPrivateKey):
            check_own_signature(
                public_key, algorithm, signature, octets, allow_sha1=allow_sha1
            )
        return signature

    def sign_quickly(algorithm: AlgorithmIdentifier, octets: bytes) -> Deferred[bytes]:
        # A long list takes longer to digest than to sign.
        if len(octets) > MAX_QUICK_OCTETS:
            return workers.run(sign, private_key, algorithm, octets)
        return execute(sign, private_key, algorithm, octets)

    if key_kind(public_key) in _QUICK:
        return sign_quickly
    return lambda algorithm, octets: workers.run(sign_checked, algorithm, octets)


def check_own_signature(
    public_key: PublicKey,
    algorithm: AlgorithmIdentifier,
    signature: bytes,
    octets: bytes,
    *,
    allow_sha1: bool = False,
) -> None:
    """Verify a signature of our own before anybody sees it.

    :raises PKIError: ``INTERNAL`` when the computation went wrong.
    """
    try:
        verify_signature(
            public_key, algorithm, signature, octets, allow_sha1=allow_sha1
        )
    except PKIError as fault:
        raise PKIError(
            ErrorCode.INTERNAL,
            "a signature came out wrong and was thrown away",
            hint="the processor or the memory of this machine is faulty",
        ) from fault


class _Handle:
    """What all handles show: the public key and the algorithm."""

    __slots__ = ("_algorithm", "_name", "_public_key", "_sign")

    def __init__(self, name: str, public_key: PublicKey, sign_octets: Sign) -> None:
        self._name = name
        self._public_key = public_octets(public_key)
        self._algorithm = signature_algorithm_for(public_key)
        self._sign = sign_octets

    @property
    def public_key(self) -> bytes:
        """SubjectPublicKeyInfo."""
        return self._public_key

    @property
    def algorithm(self) -> AlgorithmIdentifier:
        """The signature algorithm that it signs with."""
        return self._algorithm

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name})"


class FileCertificateSigner(_Handle):
    """A CA's key: signs prepared certificates of one authority.

    Which authority is settled by the first certificate that it signs.
    """

    __slots__ = ("_authorities",)

    def __init__(
        self,
        name: str,
        public_key: PublicKey,
        sign_octets: Sign,
        authorities: dict[str, str],
    ) -> None:
        super().__init__(name, public_key, sign_octets)
        self._authorities = authorities

    def sign(self, prepared: PreparedCertificate) -> Deferred[bytes]:
        """The signature over a prepared certificate, with the algorithm it names.

        :raises PKIError: through the Deferred: ``INTERNAL`` when it is no prepared
            certificate, was used already, or is another authority's.
        """
        if type(prepared) is not PreparedCertificate:
            return fail(_misuse("only a prepared certificate is signed"))
        authority = self._authorities.setdefault(self._name, prepared.authority)
        if authority != prepared.authority:
            return fail(_misuse("the certificate is another authority's"))
        try:
            tbs = prepared.spend()
        except PKIError as fault:
            return fail(fault)
        return self._sign(prepared.algorithm, tbs)


class FileStatusSigner(_Handle):
    """Signs CRLs and OCSP responses."""

    __slots__ = ()

    def sign_status(self, tbs: bytes) -> Deferred[bytes]:
        """The signature over a TBSCertList or ResponseData.

        :raises PKIError: through the Deferred: ``INTERNAL`` for anything else.
        """
        tags = outline(tbs)
        if not (_is_crl(tags) or _is_ocsp_response(tags)):
            return fail(_misuse("this key signs CRLs and OCSP responses only"))
        return self._sign(self._algorithm, tbs)


class FileMessageSigner(_Handle):
    """Signs protocol messages and heads of the audit log."""

    __slots__ = ()

    def sign_message(
        self, octets: bytes, algorithm: AlgorithmIdentifier | None = None
    ) -> Deferred[bytes]:
        """The signature over a protected part.

        :param algorithm: instead of ``algorithm``.
        :raises PKIError: through the Deferred: ``INTERNAL`` for octets that are, or
            may be read as, a TBSCertificate, TBSCertList or ResponseData;
            ``BAD_ALGORITHM`` for an algorithm that does not fit the key.
        """
        tags = outline(octets)
        broken = tags is None and octets[:1] == bytes((der.SEQUENCE,))
        if broken or is_certificate(tags) or _is_crl(tags) or _is_ocsp_response(tags):
            return fail(_misuse("this key signs messages only"))
        return self._sign(algorithm or self._algorithm, octets)


def _misuse(detail: str) -> PKIError:
    return PKIError(ErrorCode.INTERNAL, detail)


# --- what octets are ------------------------------------------------------------


def outline(octets: bytes) -> tuple[int, ...] | None:
    """Tags of the first six elements of a DER SEQUENCE; None when it is none."""
    try:
        cursor = der.Cursor(der.single(octets, der.SEQUENCE))
        tags: list[int] = []
        while cursor and len(tags) < 6:
            tags.append(cursor.peek())
            cursor.raw()
    except PKIError:
        return None
    return tuple(tags)


def is_certificate(tags: tuple[int, ...] | None) -> bool:
    """Whether this is the outline of a TBSCertificate (RFC 5280 section 4.1).

    Version 1 has no version element: serial, algorithm, issuer, validity, subject.
    """
    if not tags:
        return False
    start = 1 if tags[0] == _VERSION else 0
    expected = (der.INTEGER, der.SEQUENCE, der.SEQUENCE, der.SEQUENCE)
    return tags[start : start + 4] == expected


def _is_crl(tags: tuple[int, ...] | None) -> bool:
    """Version (not in version 1), algorithm, issuer, thisUpdate (section 5.1)."""
    if not tags:
        return False
    start = 1 if tags[0] == der.INTEGER else 0
    names = tags[start : start + 2] == (der.SEQUENCE, der.SEQUENCE)
    return names and any(tag in _TIMES for tag in tags[start + 2 : start + 3])


def _is_ocsp_response(tags: tuple[int, ...] | None) -> bool:
    """Version by default left out, responderID, producedAt (RFC 6960 section 4.2.1)."""
    if not tags:
        return False
    start = 1 if tags[0] == _VERSION else 0
    responder = tags[start : start + 1]
    responders = ((der.constructed(1),), (der.constructed(2),))
    times = tags[start + 1 : start + 2] == (der.GENERALIZED_TIME,)
    return times and responder in responders
