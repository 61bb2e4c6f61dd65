"""Read the extensions that a request asks for.

A request only proposes: what is read here goes through `pkid.engine.policy`.

**Source:** RFC 5280 section 4.2.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, decode_general_names
from pkid.asn1.x509 import Extension
from pkid.crypto.certificates import decode_basic_constraints
from pkid.errors import ErrorCode, PKIError

KEY_USAGE_BITS = (
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
)
MAX_KEY_PURPOSES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedExtensions:
    """What a request's extensions ask for; None where it says nothing.

    :ivar other: extensions without a meaning of their own here.
    """

    alternative_names: tuple[GeneralName, ...] = ()
    alternative_names_critical: bool = False
    key_usage: frozenset[str] | None = None
    extended_key_usage: tuple[str, ...] | None = None
    is_ca: bool | None = None
    path_length: int | None = None
    other: tuple[Extension, ...] = ()


NOTHING = RequestedExtensions()


def decode_key_usage(value: bytes) -> frozenset[str]:
    """Names of the bits of a KeyUsage extension value."""
    bits = der.decode_named_bits(der.single(value, der.BIT_STRING))
    return frozenset(KEY_USAGE_BITS[bit] for bit in bits if bit < len(KEY_USAGE_BITS))


def decode_extended_key_usage(value: bytes) -> tuple[str, ...]:
    """OIDs of an ExtKeyUsageSyntax value; at least one."""
    cursor = der.Cursor(der.single(value, der.SEQUENCE))
    found: list[str] = []
    while cursor:
        found.append(der.decode_oid(cursor.take(der.OID)))
    if not 1 <= len(found) <= MAX_KEY_PURPOSES:
        der.malformed("extended key usage is empty or too long")
    return tuple(found)


def read_extensions(extensions: tuple[Extension, ...]) -> RequestedExtensions:
    """Read what a request's extensions ask for.

    :raises PKIError: ``BAD_TEMPLATE`` when one of them is malformed.
    """
    if not extensions:
        return NOTHING
    try:
        return _read(extensions)
    except PKIError as error:
        raise PKIError(
            ErrorCode.BAD_TEMPLATE, f"a requested extension is broken: {error.detail}"
        ) from error


def _read(extensions: tuple[Extension, ...]) -> RequestedExtensions:
    by_oid = {extension.oid: extension for extension in extensions}
    names = by_oid.pop(oids.ID_CE_SUBJECT_ALT_NAME, None)
    usage = by_oid.pop(oids.ID_CE_KEY_USAGE, None)
    purposes = by_oid.pop(oids.ID_CE_EXT_KEY_USAGE, None)
    constraints = by_oid.pop(oids.ID_CE_BASIC_CONSTRAINTS, None)
    limits = decode_basic_constraints(constraints.value) if constraints else None
    return RequestedExtensions(
        alternative_names=(
            decode_general_names(der.single(names.value, der.SEQUENCE)) if names else ()
        ),
        alternative_names_critical=names is not None and names.critical,
        key_usage=decode_key_usage(usage.value) if usage else None,
        extended_key_usage=(
            decode_extended_key_usage(purposes.value) if purposes else None
        ),
        is_ca=None if limits is None else limits.ca,
        path_length=None if limits is None else limits.path_length,
        other=tuple(by_oid.values()),
    )
