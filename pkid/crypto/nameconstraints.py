"""Name constraints of CA certificates, and whether names keep to them.

Pure. Directory names, DNS names, e-mail addresses, URIs and IP addresses are compared;
a constraint on another kind of name refuses every certificate that has such a name.

**Source:** RFC 5280 section 4.2.1.10; RFC 9598 section 6 for mailboxes in UTF-8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from pkid.asn1 import der, oids
from pkid.asn1.names import (
    DIRECTORY_NAME,
    DNS_NAME,
    IP_ADDRESS,
    MAX_GENERAL_NAMES,
    OTHER_NAME,
    RFC822_NAME,
    URI,
    GeneralName,
    Name,
)
from pkid.crypto.certificates import Certificate, subject_alternative_names

MAX_COMPARISONS: Final = 10_000


@dataclass(frozen=True, slots=True)
class NameConstraints:
    """``nameConstraints`` as read.

    :ivar permitted: bases of the permitted subtrees.
    :ivar excluded: bases of the excluded subtrees.
    """

    permitted: tuple[GeneralName, ...]
    excluded: tuple[GeneralName, ...]

    @classmethod
    def decode(cls, value: bytes) -> NameConstraints:
        """Read the extension's value.

        :raises PKIError: ``MALFORMED``, also for a minimum or maximum, which RFC 5280
            does not allow.
        """
        cursor = der.Cursor(der.single(value, der.SEQUENCE))
        permitted = _subtrees(cursor, 0)
        excluded = _subtrees(cursor, 1)
        cursor.finish()
        return cls(permitted, excluded)

    def violation(self, certificate: Certificate) -> str | None:
        """What in a certificate breaks these constraints, or None if nothing does.

        :raises PKIError: ``MALFORMED`` when its names cannot be read.
        """
        names = names_of(certificate)
        if len(names) * (len(self.permitted) + len(self.excluded)) > MAX_COMPARISONS:
            return "too many names and name constraints"
        for name in names:
            if self._excludes(name):
                return f"{name.text()} is not within the issuer's name constraints"
        return None

    def _excludes(self, name: GeneralName) -> bool:
        kinds = {base.tag for base in (*self.permitted, *self.excluded)}
        if name.tag == OTHER_NAME and RFC822_NAME in kinds:
            # A mailbox in UTF-8 must not slip past constraints on e-mail addresses.
            other = name.other_name
            if other is not None and other[0] == oids.ID_ON_SMTP_UTF8_MAILBOX:
                return True
        if name.tag not in kinds:
            return False
        comparison = _COMPARISONS.get(name.tag)
        if comparison is None:
            return True
        within, touches = comparison
        permitted = [base.value for base in self.permitted if base.tag == name.tag]
        excluded = [base.value for base in self.excluded if base.tag == name.tag]
        if permitted and not any(within(name.value, base) for base in permitted):
            return True
        return any(touches(name.value, base) for base in excluded)


def _subtrees(cursor: der.Cursor, number: int) -> tuple[GeneralName, ...]:
    field = cursor.optional(der.constructed(number))
    if field is None:
        return ()
    found = []
    for element in der.Cursor(field).raw_elements(MAX_GENERAL_NAMES):
        subtree = der.Cursor(der.single(element, der.SEQUENCE))
        base = GeneralName.decode(subtree.raw())
        subtree.finish()
        found.append(base)
    if not found:
        der.malformed("name constraints with an empty list")
    return tuple(found)


def names_of(certificate: Certificate) -> Sequence[GeneralName]:
    """All names that constraints speak of: subject, SAN, e-mail in the subject."""
    names = list(subject_alternative_names(certificate))
    if not any(name.tag == RFC822_NAME for name in names):
        # Old certificates hold addresses in the subject only.
        names += [
            GeneralName(RFC822_NAME, address.encode("utf-8"))
            for address in certificate.subject.values(oids.ID_EMAIL_ADDRESS)
        ]
    if not certificate.subject.is_empty:
        names.append(GeneralName.directory(certificate.subject))
    return names


# --- one kind of name each: (name, base of the subtree) -> within? ------------


def _host_within(host: bytes, base: bytes) -> bool:
    """DNS: the base itself, and with any labels before it."""
    host, base = host.lower().rstrip(b"."), base.lower()
    if not base:
        return True
    if base.startswith(b"."):
        return host.endswith(base) and len(host) > len(base)
    return host == base or host.endswith(b"." + base)


def _host_touches(host: bytes, base: bytes) -> bool:
    """DNS, excluded: a wildcard also touches what it could stand for."""
    if _host_within(host, base):
        return True
    return host.startswith(b"*.") and _host_within(base.lstrip(b"."), host[2:])


def _exact_host_within(host: bytes, base: bytes) -> bool:
    """E-mail and URI: the host itself, or with a leading dot what lies below."""
    host, base = host.lower(), base.lower()
    if base.startswith(b"."):
        return host.endswith(base) and len(host) > len(base)
    return host == base


def _mailbox_within(address: bytes, base: bytes) -> bool:
    local, separator, host = address.rpartition(b"@")
    if not separator:
        return False
    base_local, separator, base_host = base.rpartition(b"@")
    if separator:
        return local == base_local and host.lower() == base_host.lower()
    return not base or _exact_host_within(host, base)


def _mailbox_touches(address: bytes, base: bytes) -> bool:
    # What is no address cannot be shown to be outside.
    return b"@" not in address or _mailbox_within(address, base)


def _uri_host(uri: bytes) -> bytes | None:
    """Host of a URI, or None when it has none or it is an address."""
    try:
        host = urlsplit(uri.decode("ascii")).hostname
    except ValueError:
        return None
    if not host or ":" in host or host.replace(".", "").isdigit():
        return None
    return host.encode("ascii")


def _uri_within(uri: bytes, base: bytes) -> bool:
    host = _uri_host(uri)
    return host is not None and (not base or _exact_host_within(host, base))


def _uri_touches(uri: bytes, base: bytes) -> bool:
    return _uri_host(uri) is None or _uri_within(uri, base)


def _address_within(address: bytes, base: bytes) -> bool:
    size = len(address)
    if len(base) != 2 * size:
        return False
    network, mask = base[:size], base[size:]
    return all(
        (octet ^ part) & bits == 0
        for octet, part, bits in zip(address, network, mask, strict=True)
    )


def _name_within(name: bytes, base: bytes) -> bool:
    parts, wanted = _canonical_rdns(name), _canonical_rdns(base)
    return parts[: len(wanted)] == wanted


def _canonical_rdns(octets: bytes) -> list[bytes]:
    return [
        der.set_of(*(attribute.canonical() for attribute in rdn))
        for rdn in Name.decode(octets).rdns
    ]


_Test = Callable[[bytes, bytes], bool]
_COMPARISONS: Final[dict[int, tuple[_Test, _Test]]] = {
    RFC822_NAME: (_mailbox_within, _mailbox_touches),
    DNS_NAME: (_host_within, _host_touches),
    DIRECTORY_NAME: (_name_within, _name_within),
    URI: (_uri_within, _uri_touches),
    IP_ADDRESS: (_address_within, _address_within),
}
