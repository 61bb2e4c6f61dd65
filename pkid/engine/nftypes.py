"""Which network functions of the 5G core a certificate may speak for.

Whoever reads NFTypes decides by it what a function may do: a request gets only types
that its end entity profile allows, and only in the one form that RFC 9310 knows.

**Source:** RFC 9310 sections 3 and 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.x509 import Extension
from pkid.crypto.extensions import network_function_types
from pkid.engine.naming import refuse
from pkid.engine.profiles import EndEntityProfile
from pkid.errors import PKIError

MAX_TYPES: Final = 64


def check_network_functions(
    extensions: Sequence[Extension], rules: EndEntityProfile
) -> None:
    """Refuse an NFTypes extension that is badly formed or asks for too much.

    :param extensions: copied from a request.
    :raises PKIError: ``BAD_TEMPLATE``.
    """
    for extension in extensions:
        if extension.oid == oids.ID_PE_NFTYPE:
            _check(_types_of(extension), rules)


def _types_of(extension: Extension) -> tuple[str, ...]:
    """The types, each once, in order."""
    if extension.critical:
        raise refuse("NFTypes must not be critical")
    try:
        cursor = der.Cursor(der.single(extension.value, der.SEQUENCE))
        found: list[str] = []
        while cursor and len(found) < MAX_TYPES:
            found.append(der.decode_text(der.IA5_STRING, cursor.take(der.IA5_STRING)))
        cursor.finish()
        canonical = network_function_types(found)
    except PKIError as error:
        raise refuse(f"NFTypes is not well formed: {error.detail}") from error
    if canonical.value != extension.value:
        raise refuse("NFTypes must be in ascending order, each type once")
    return tuple(found)


def _check(types: Sequence[str], rules: EndEntityProfile) -> None:
    allowed = rules.network_function_types
    extra = [one for one in types if allowed and one not in allowed]
    if extra:
        raise refuse(
            f"the network function type {extra[0]} is not allowed here",
            f"network_function_types of [end_entity_profile.{rules.name}]",
        )
