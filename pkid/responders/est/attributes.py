"""/csrattrs: what the profile of an entrance would like in a request.

**Source:** RFC 7030 section 4.5; RFC 8951 section 3.3; RFC 9908 section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier, Extension
from pkid.crypto.algorithms import CURVE_OIDS, KeySpec, decode_key_specs
from pkid.crypto.extensions import extended_key_usage, key_usage
from pkid.engine.aliases import Policies
from pkid.engine.endentities import attribute_oid
from pkid.engine.profiles import CertificateProfile, EndEntityProfile
from pkid.messages.csrattrs import KeyWish, NamePart, RequestWishes
from pkid.messages.est import CSR_ATTRIBUTES
from pkid.responders.base import Exchange, Reply
from pkid.responders.est.aliases import ESTAlias
from pkid.responders.est.bodies import cached_reply

_NO_CONTENT: Final = 204
_RSA: Final = AlgorithmIdentifier(oids.RSA_ENCRYPTION, der.NULL)
_CURVE_SIGNATURES: Final = {
    "ec:P-256": oids.ECDSA_WITH_SHA256,
    "ec:P-384": oids.ECDSA_WITH_SHA384,
    "ec:P-521": oids.ECDSA_WITH_SHA512,
}
_OTHERS: Final = {
    "ed25519": oids.ID_ED25519,
    "ed448": oids.ID_ED448,
    "ml-dsa-44": oids.ID_ML_DSA_44,
    "ml-dsa-65": oids.ID_ML_DSA_65,
    "ml-dsa-87": oids.ID_ML_DSA_87,
}


class Attributes:
    """Answers /csrattrs, for anybody.

    :param policies: as configured at this moment.
    """

    def __init__(self, policies: Callable[[], Policies]) -> None:
        self._policies = policies

    async def answer(self, alias: ESTAlias, exchange: Exchange) -> Reply:
        """The attributes; 204 when there is nothing to say."""
        if alias.csr_attributes == "off":
            return Reply(status=_NO_CONTENT)
        wishes = wishes_of(alias, self._policies())
        match alias.csr_attributes:
            case "legacy":
                octets = wishes.encode_legacy()
            case "extensions":
                octets = wishes.encode_extensions()
            case _:
                octets = wishes.encode_with_template()
        return cached_reply(alias, exchange, octets, CSR_ATTRIBUTES)


def wishes_of(alias: ESTAlias, policies: Policies) -> RequestWishes:
    """What requests to an entrance should look like.

    :raises PKIError: ``BAD_TEMPLATE`` for a profile that is not declared.
    """
    profile = policies.certificate_profile(alias.alias.certificate_profile)
    names = policies.end_entity_profiles.get(alias.alias.end_entity_profile)
    spec = next(iter(decode_key_specs(profile.keys)))
    key, signature = _key(spec)
    return RequestWishes(
        bound=alias.binding == "require",
        key=key,
        signature=signature,
        extensions=_extensions(profile),
        open_extensions=_open_extensions(profile, names),
        subject=_subject(names),
    )


def _key(spec: KeySpec) -> tuple[KeyWish | None, str]:
    if spec.family == "rsa":
        return KeyWish(_RSA, spec.minimum), oids.SHA256_WITH_RSA_ENCRYPTION
    curve = CURVE_OIDS.get(spec.family.removeprefix("ec:"))
    if curve is not None:
        algorithm = AlgorithmIdentifier(oids.ID_EC_PUBLIC_KEY, der.oid(curve))
        return KeyWish(algorithm), _CURVE_SIGNATURES.get(spec.family, "")
    other = _OTHERS.get(spec.family)
    # Their signature algorithm is the key's own: said once.
    return (None if other is None else KeyWish(AlgorithmIdentifier(other))), ""


def _extensions(profile: CertificateProfile) -> tuple[Extension, ...]:
    found: list[Extension] = []
    if profile.key_usage:
        found.append(key_usage(profile.key_usage, critical=profile.key_usage_critical))
    if profile.extended_key_usage:
        purposes = profile.extended_key_usage
        critical = profile.extended_key_usage_critical
        found.append(extended_key_usage(purposes, critical=critical))
    return tuple(found)


def _open_extensions(
    profile: CertificateProfile, names: EndEntityProfile | None
) -> tuple[str, ...]:
    rules = () if names is None else names.alternative_names
    if profile.san == "required" or any(rule.required for rule in rules):
        return (oids.ID_CE_SUBJECT_ALT_NAME,)
    return ()


def _subject(names: EndEntityProfile | None) -> tuple[NamePart, ...]:
    """Fields that are demanded, and those that have one value only."""
    if names is None:
        return ()
    return tuple(
        NamePart(attribute_oid(rule.field), "" if rule.modifiable else rule.default)
        for rule in names.subject
        if rule.required or (rule.default and not rule.modifiable)
    )
