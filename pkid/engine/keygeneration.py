"""Keys that the engine makes for those who ask for it.

The door is the one path itself: an `EnrollmentRequest` without a public key and with
`GeneratedPossession`. Once the grant says which profile counts, and if its alias has
``key_generation``, a key pair of a kind that the profile lists is made off the reactor
thread. Its private half stands in `Issued.generated` while the door makes its answer,
before the commit, and nowhere else: what the door stores of it must be encrypted for
its owner. The same request again gets that stored answer, never a second key.

**Source:** RFC 9810 sections 4.2.1.2 and 5.2.2; RFC 7030 section 4.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import CURVE_OIDS, KeyKind, KeySpec, decode_key_specs
from pkid.engine.authorization import Grant
from pkid.engine.keyarchive import KeyArchive
from pkid.engine.model import EnrollmentRequest, GeneratedKey, GeneratedPossession
from pkid.engine.ports import KeyStore
from pkid.errors import ErrorCode, PKIError

#: No smaller RSA keys are made, whatever a profile lists.
MIN_RSA_BITS: Final = 2048

_CURVES: Final = {oid: name for name, oid in CURVE_OIDS.items()}
_KINDS: Final = {
    oids.ID_ED25519: KeyKind.ED25519,
    oids.ID_ED448: KeyKind.ED448,
    oids.ID_X25519: KeyKind.X25519,
    oids.ID_X448: KeyKind.X448,
    oids.ID_ML_DSA_44: KeyKind.ML_DSA_44,
    oids.ID_ML_DSA_65: KeyKind.ML_DSA_65,
    oids.ID_ML_DSA_87: KeyKind.ML_DSA_87,
    oids.ID_ALG_ML_KEM_768: KeyKind.ML_KEM_768,
    oids.ID_ALG_ML_KEM_1024: KeyKind.ML_KEM_1024,
}
_RSA: Final = frozenset((oids.RSA_ENCRYPTION, oids.ID_RSASSA_PSS))


async def generate_key(
    keys: KeyStore, allowed: Sequence[str], algorithm: AlgorithmIdentifier | None = None
) -> GeneratedKey:
    """Make a key pair of a kind that is allowed.

    :param allowed: as a profile lists keys: "ec:P-256", "rsa:2048-4096" ...; the first
        that fits counts, for RSA its least size.
    :param algorithm: of the key, as the requester would like it; None takes any.
    :raises PKIError: ``BAD_ALGORITHM`` when none fits or can be made here.
    """
    return await keys.generate_pair(choose_spec(allowed, algorithm))


def choose_spec(
    allowed: Sequence[str], algorithm: AlgorithmIdentifier | None = None
) -> str:
    """The exact kind of key to make.

    :raises PKIError: ``BAD_ALGORITHM``.
    """
    family = None if algorithm is None else _family_of(algorithm)
    for spec in decode_key_specs(allowed):
        if family in (None, spec.family) and _can_be_made(spec):
            return _exact(spec)
    listed = ", ".join(allowed) or "none"
    wanted = "any" if family is None else family
    raise PKIError(
        ErrorCode.BAD_ALGORITHM,
        f"no key of kind {wanted} is made here; the profile lists: {listed}",
    )


def _family_of(algorithm: AlgorithmIdentifier) -> str:
    """Family of the key that an ``AlgorithmIdentifier`` of a public key names.

    :raises PKIError: ``BAD_ALGORITHM``.
    """
    if algorithm.oid in _RSA:
        return KeyKind.RSA.value
    if algorithm.oid == oids.ID_EC_PUBLIC_KEY:
        return _curve_of(algorithm)
    kind = _KINDS.get(algorithm.oid)
    if kind is None:
        raise PKIError(
            ErrorCode.BAD_ALGORITHM, f"unknown public key algorithm {algorithm.oid}"
        )
    return kind.value


def _curve_of(algorithm: AlgorithmIdentifier) -> str:
    parameters = algorithm.parameters or b""
    name = None
    if parameters[:1] == bytes((der.OID,)):
        name = _CURVES.get(der.decode_oid(der.single(parameters, der.OID)))
    if name is None:
        raise PKIError(ErrorCode.BAD_ALGORITHM, "the curve of the key is not known")
    return f"ec:{name}"


def _can_be_made(spec: KeySpec) -> bool:
    return spec.family != "rsa" or spec.maximum >= MIN_RSA_BITS


def _exact(spec: KeySpec) -> str:
    if spec.family != "rsa":
        return spec.family
    return f"rsa:{max(spec.minimum, MIN_RSA_BITS)}"


async def keyed(
    keys: KeyStore,
    archive: KeyArchive,
    request: EnrollmentRequest,
    grant: Grant,
    made: GeneratedKey | None,
) -> tuple[EnrollmentRequest, GeneratedKey | None]:
    """The request with the key that it asks us to make, and that key.

    A request that brings its own key stays as it is.

    :param made: the key made for it before, when the path is gone again.
    :raises PKIError: ``BAD_TEMPLATE`` where no keys are made; ``NOT_AUTHORIZED`` when
        an approver would have to agree first; ``BAD_REQUEST`` where no keys are
        archived; ``BAD_ALGORITHM``.
    """
    wanted = request.possession
    wants_archive = isinstance(wanted, GeneratedPossession) and wanted.archive
    if (request.archived or wants_archive) and not grant.alias.key_archive:
        raise PKIError(
            ErrorCode.BAD_REQUEST,
            "private keys are not archived here",
            hint=f"key_archive of alias {grant.alias.name}",
        )
    if not isinstance(wanted, GeneratedPossession) or made is not None:
        return request, made
    alias = grant.alias
    if not alias.key_generation:
        raise PKIError(
            ErrorCode.BAD_TEMPLATE,
            "the request has no public key, and keys are not made here",
            hint=f"key_generation of alias {alias.name}",
        )
    if grant.approval.needed:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "no keys are made for requests that wait for approval",
            hint=f"approval rule {grant.approval.name} of alias {alias.name}",
        )
    made = await generate_key(keys, grant.profile.keys, wanted.algorithm)
    requested = replace(request.requested, public_key=made.public_key)
    sealed = b""
    if wanted.archive:
        sealed = archive.seal(alias.authority, made.public_key, made.private_key)
    return replace(request, requested=requested, archived=sealed), made
