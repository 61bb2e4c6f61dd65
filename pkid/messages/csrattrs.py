"""``CsrAttrs``: what a server would like in a certification request.

Pure; only written, never read. Three things say it: a list of object identifiers
(RFC 7030), values for extensions (RFC 9908 section 3.2), and a template of the whole
request (RFC 9908 section 3.4), which old clients skip as an attribute that they do not
know. The module of RFC 9908 has implicit tags, as those of PKIX have.

**Source:** RFC 7030 section 4.5.2, with the ASN.1 as corrected by RFC 8951 section
3.3; RFC 9908 section 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.names import AttributeValue
from pkid.asn1.x509 import AlgorithmIdentifier, Extension, encode_extensions
from pkid.messages.pkcs10 import Attribute

_KEY: Final = der.constructed(0)
_ATTRIBUTES: Final = der.constructed(1)
_RSA_EXPONENT: Final = 65537


@dataclass(frozen=True, slots=True)
class NamePart:
    """One field of the subject.

    :ivar text: what must stand there; "" leaves it to the client.
    """

    oid: str
    text: str = ""

    def encode(self) -> bytes:
        """The RDN, with ``SingleAttributeTemplate`` in it."""
        if self.text:
            return der.set_of(AttributeValue.build(self.oid, self.text).encode())
        return der.set_of(der.sequence(der.oid(self.oid)))


@dataclass(frozen=True, slots=True)
class KeyWish:
    """The kind of key.

    :ivar algorithm: of the key; for EC with the curve.
    :ivar rsa_bits: size of the modulus; 0 for other keys.
    """

    algorithm: AlgorithmIdentifier
    rsa_bits: int = 0

    def encode_attribute(self) -> bytes:
        """The attribute that names it outside a template; values may be empty.

        **Source:** RFC 9908 section 3.2.
        """
        values: tuple[bytes, ...] = ()
        if self.rsa_bits:
            values = (der.integer(self.rsa_bits),)
        elif self.algorithm.parameters is not None:
            values = (self.algorithm.parameters,)
        return Attribute(self.algorithm.oid, values).encode()

    def encode_template(self) -> bytes:
        """``[0] SubjectPublicKeyInfoTemplate``; a placeholder tells the size of RSA."""
        key = b""
        if self.rsa_bits:
            modulus = der.integer((1 << (self.rsa_bits - 1)) | 1)
            key = der.bit_string(der.sequence(modulus, der.integer(_RSA_EXPONENT)))
        return der.encode(_KEY, self.algorithm.encode(), key)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestWishes:
    """What a request should look like.

    :ivar bound: whether challengePassword shall hold the channel binding.
    :ivar signature: OID of the signature algorithm, "" for any.
    :ivar extensions: with the values wanted.
    :ivar open_extensions: extensions (by OID) whose values the client knows.
    :ivar subject: fields in order; empty leaves the subject to the client.
    """

    bound: bool = False
    key: KeyWish | None = None
    signature: str = ""
    extensions: tuple[Extension, ...] = ()
    open_extensions: tuple[str, ...] = ()
    subject: tuple[NamePart, ...] = ()

    def encode_legacy(self) -> bytes:
        """Names alone: extensions by their OIDs, as in RFC 7030's example."""
        names = (*(one.oid for one in self.extensions), *self.open_extensions)
        return der.sequence(*self._plain(tuple(der.oid(name) for name in names)))

    def encode_extensions(self) -> bytes:
        """Values too: one ``extensionRequest`` with one ``Extensions``."""
        return der.sequence(*self._plain(self._extension_values()))

    def encode_with_template(self) -> bytes:
        """All that, and the template for clients that know it."""
        template = Attribute(
            oids.ID_AA_CERTIFICATION_REQUEST_INFO_TEMPLATE, (self._template(),)
        )
        return der.sequence(*self._plain(self._extension_values()), template.encode())

    def _extension_values(self) -> tuple[bytes, ...]:
        return (encode_extensions(self.extensions),) if self.extensions else ()

    def _plain(self, requested: tuple[bytes, ...]) -> Iterable[bytes]:
        if self.bound:
            yield der.oid(oids.PKCS9_CHALLENGE_PASSWORD)
        if requested:
            yield Attribute(oids.PKCS9_EXTENSION_REQUEST, requested).encode()
        if self.key is not None:
            yield self.key.encode_attribute()
        if self.signature:
            yield der.oid(self.signature)

    def _template(self) -> bytes:
        subject = b""
        if self.subject:
            subject = der.sequence(*(part.encode() for part in self.subject))
        key = b"" if self.key is None else self.key.encode_template()
        attributes = sorted(self._template_attributes())
        return der.sequence(
            der.integer(0), subject, key, der.encode(_ATTRIBUTES, *attributes)
        )

    def _template_attributes(self) -> Iterable[bytes]:
        """Extensions, in a template of their own when one is left open.

        **Source:** RFC 9908 section 3.4: never both forms.
        """
        if self.open_extensions:
            elements = [one.encode() for one in self.extensions]
            elements += [der.sequence(der.oid(one)) for one in self.open_extensions]
            value = der.sequence(*elements)
            yield Attribute(oids.ID_AA_EXTENSION_REQ_TEMPLATE, (value,)).encode()
        elif self.extensions:
            value = encode_extensions(self.extensions)
            yield Attribute(oids.PKCS9_EXTENSION_REQUEST, (value,)).encode()
