"""Which keys and requests the profiles of an entrance take, in CMP's words.

Values from the profiles alone; nothing is read or decided here.

**Source:** RFC 9810 sections 5.3.19.2, 5.3.19.3, 5.3.19.8 and 5.3.19.16.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.names import Name
from pkid.asn1.x509 import AlgorithmIdentifier, Extension
from pkid.crypto import extensions
from pkid.crypto.algorithms import CURVE_OIDS, KeySpec
from pkid.engine.endentities import attribute_oid
from pkid.engine.profiles import CertificateProfile, EndEntityProfile
from pkid.messages.cmp.certreqtemplate import CertReqTemplateContent
from pkid.messages.crmf import CertTemplate

RSA: Final = "rsa"
#: Families of keys by the beginning of their names.
SIGNING: Final = (RSA, "ec:", "ed25519", "ed448", "ml-dsa-")
ENCRYPTION: Final = (RSA, "ec:", "x25519", "x448", "ml-kem-")
#: The sizes that a template names of a range.
_RSA_STEP: Final = 1024

_KEY_ALGORITHMS: Final = {
    RSA: AlgorithmIdentifier(oids.RSA_ENCRYPTION, der.NULL),
    "ed25519": AlgorithmIdentifier(oids.ID_ED25519),
    "ed448": AlgorithmIdentifier(oids.ID_ED448),
    "ml-dsa-44": AlgorithmIdentifier(oids.ID_ML_DSA_44),
    "ml-dsa-65": AlgorithmIdentifier(oids.ID_ML_DSA_65),
    "ml-dsa-87": AlgorithmIdentifier(oids.ID_ML_DSA_87),
    "ml-kem-768": AlgorithmIdentifier(oids.ID_ALG_ML_KEM_768),
    "ml-kem-1024": AlgorithmIdentifier(oids.ID_ALG_ML_KEM_1024),
    "x25519": AlgorithmIdentifier(oids.ID_X25519),
    "x448": AlgorithmIdentifier(oids.ID_X448),
}


def key_types(
    specs: Iterable[KeySpec], families: tuple[str, ...]
) -> tuple[AlgorithmIdentifier, ...]:
    """The key types of a use, each once, one for each named curve.

    :param families: `SIGNING` or `ENCRYPTION`.
    """
    found = dict.fromkeys(
        spec.family for spec in specs if spec.family.startswith(families)
    )
    return tuple(map(_key_algorithm, found))


def key_parameters(
    specs: Iterable[KeySpec], algorithm: str
) -> AlgorithmIdentifier | None:
    """The parameters to make a key with; None for an algorithm that is not taken.

    :param algorithm: OID of the key's algorithm. Of several curves the first counts:
        a profile names its preferred one first.
    """
    for spec in specs:
        known = _key_algorithm(spec.family)
        if known.oid == algorithm:
            return known
    return None


def request_template(
    profile: CertificateProfile, rules: EndEntityProfile, specs: Iterable[KeySpec]
) -> CertReqTemplateContent:
    """What a request under this profile looks like.

    The template holds what stands whatever is asked and what is put where nothing is
    asked; what is left to the requester is left out.
    """
    specs = tuple(specs)
    subject = _subject(rules)
    return CertReqTemplateContent.build(
        CertTemplate(subject=subject, extensions=tuple(_extensions(profile))),
        algorithms=dict.fromkeys(
            _key_algorithm(spec.family) for spec in specs if spec.family != RSA
        ),
        rsa_key_lens=sorted({size for spec in specs for size in _rsa_sizes(spec)}),
    )


def _key_algorithm(family: str) -> AlgorithmIdentifier:
    kind, _, curve = family.partition(":")
    if kind == "ec":
        return AlgorithmIdentifier(oids.ID_EC_PUBLIC_KEY, der.oid(CURVE_OIDS[curve]))
    return _KEY_ALGORITHMS[family]


def _rsa_sizes(spec: KeySpec) -> Iterator[int]:
    if spec.family != RSA:
        return
    yield spec.minimum
    steps = range(spec.minimum // _RSA_STEP + 1, spec.maximum // _RSA_STEP + 1)
    yield from (step * _RSA_STEP for step in steps)


def _subject(rules: EndEntityProfile) -> bytes | None:
    rdns = [
        [(attribute_oid(rule.field), rule.default)]
        for rule in rules.subject
        if rule.default
    ]
    return Name.build(rdns).der if rdns else None


def _extensions(profile: CertificateProfile) -> Iterator[Extension]:
    if profile.key_usage:
        yield extensions.key_usage(
            profile.key_usage, critical=profile.key_usage_critical
        )
    if profile.extended_key_usage:
        yield extensions.extended_key_usage(
            profile.extended_key_usage, critical=profile.extended_key_usage_critical
        )
