"""Which certificate profile a request asks for, in Microsoft's words or by key usage.

A template's name in the request chooses among the profiles that the entrance offers;
NDES chooses by key usage when there is none. Everything else takes the entrance's own.

**Source:** the project's SCEP requirements; Microsoft's own documents were not read.
"""

from __future__ import annotations

from typing import Final

from pkid.asn1 import der, oids
from pkid.crypto.extensions import KEY_USAGE_BITS
from pkid.errors import PKIError
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.scep.aliases import SCEPAlias

_SIGNING: Final = frozenset(
    (KEY_USAGE_BITS["digitalSignature"], KEY_USAGE_BITS["nonRepudiation"])
)
_ENCRYPTING: Final = frozenset(
    (
        KEY_USAGE_BITS["keyEncipherment"],
        KEY_USAGE_BITS["dataEncipherment"],
        KEY_USAGE_BITS["keyAgreement"],
    )
)


def profile_of(request: CertificationRequest, alias: SCEPAlias) -> str | None:
    """Name of the profile asked for; None takes the entrance's.

    A name that the entrance does not offer is not looked at: clients send names of
    their own (strongSwan's ``--profile``, Windows' templates) to servers of any kind.
    """
    named = _template_name(request)
    offered = {alias.alias.certificate_profile, *alias.alias.profiles}
    for profile in offered:
        if named and profile.casefold() == named.casefold():
            return profile
    return _by_usage(request, alias)


def _by_usage(request: CertificationRequest, alias: SCEPAlias) -> str | None:
    usage = _key_usage(request)
    signs, encrypts = bool(usage & _SIGNING), bool(usage & _ENCRYPTING)
    if signs and not encrypts:
        return alias.signature_profile or None
    if encrypts and not signs:
        return alias.encryption_profile or None
    return None


def _key_usage(request: CertificationRequest) -> frozenset[int]:
    for extension in request.extension_request:
        if extension.oid == oids.ID_CE_KEY_USAGE:
            return der.decode_named_bits(der.single(extension.value, der.BIT_STRING))
    return frozenset()


def _template_name(request: CertificationRequest) -> str:
    """The text of Microsoft's template name, an extension or an attribute."""
    oid = oids.MICROSOFT_CERTIFICATE_TEMPLATE_NAME
    values = [one.value for one in request.extension_request if one.oid == oid]
    for attribute in request.attributes:
        if attribute.oid == oid:
            values += attribute.values
    for value in values:
        try:
            return der.decode_text(value[0], der.single(value, value[0]))
        except (PKIError, IndexError):
            continue
    return ""
