"""The controls of a certificate request: a table from OID to value.

Pure. Controls that are not in the table stay octets; whether a control is served is
not decided here.

**Source:** RFC 4211 section 6 and appendix B; RFC 9810 appendix F (``altCertTemplate``,
``algId``, ``rsaKeyLen``).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeVar, assert_never

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.messages.crmf import AttributeTypeAndValue, CertId
from pkid.messages.encryptedkeys import (
    EncryptedKey,
    EncryptedValue,
    EnvelopedKey,
    decode_encrypted_key,
)
from pkid.messages.opentypes import (
    OpenType,
    checked_sequence,
    decode_algorithm,
    decode_text_value,
    decode_values,
    encode_algorithm,
)

_ENCRYPTED_PRIV_KEY: Final = 0xA0
_KEY_GEN_PARAMETERS: Final = 0x81
_ARCHIVE_REM_GEN_PRIV_KEY: Final = 0x82

Value = TypeVar("Value")


# --- publication ----------------------------------------------------------------


class PublicationAction(enum.IntEnum):
    """Whether the requester wants the certificate published."""

    DONT_PUBLISH = 0
    PLEASE_PUBLISH = 1


class PublicationMethod(enum.IntEnum):
    """Where to publish."""

    DONT_CARE = 0
    X500 = 1
    WEB = 2
    LDAP = 3


_ACTION_BY_NUMBER: Final = {int(member): member for member in PublicationAction}
_METHOD_BY_NUMBER: Final = {int(member): member for member in PublicationMethod}


@dataclass(frozen=True, slots=True)
class SinglePubInfo:
    """One place for the certificate.

    :ivar location: None leaves the place to the CA.
    """

    method: PublicationMethod
    location: GeneralName | None = None

    @classmethod
    def read(cls, cursor: der.Cursor) -> SinglePubInfo:
        """Read the ``SinglePubInfo`` that stands next.

        :raises PKIError: ``MALFORMED``, also for a location where anything will do.
        """
        inner = cursor.enter(der.SEQUENCE)
        method = _METHOD_BY_NUMBER.get(der.decode_integer(inner.take(der.INTEGER)))
        location = GeneralName.read(inner) if inner else None
        inner.finish()
        if method is None:
            der.malformed("unknown method of publication")
        if method is PublicationMethod.DONT_CARE and location is not None:
            der.malformed("a place of publication beside dontCare")
        return cls(method, location)

    def encode(self) -> bytes:
        """The ``SinglePubInfo`` SEQUENCE."""
        return der.sequence(
            der.integer(self.method),
            b"" if self.location is None else self.location.encode(),
        )


@dataclass(frozen=True, slots=True)
class PKIPublicationInfo:
    """Whether and where the certificate is to be published.

    :ivar pub_infos: () when absent, which with ``PLEASE_PUBLISH`` means anywhere.
    """

    action: PublicationAction
    pub_infos: tuple[SinglePubInfo, ...] = ()

    @classmethod
    def decode(cls, element: bytes) -> PKIPublicationInfo:
        """Read a ``PKIPublicationInfo``, whole.

        :raises PKIError: ``MALFORMED``, also for places beside ``dontPublish``.

        **Source:** RFC 4211 section 6.3. It says that *pubInfos* must be omitted with
        ``dontCare``, which it stands in; read as *pubLocation*.
        """
        cursor = der.Cursor(der.single(element, der.SEQUENCE))
        action = _ACTION_BY_NUMBER.get(der.decode_integer(cursor.take(der.INTEGER)))
        infos = cursor.optional_raw(der.SEQUENCE)
        cursor.finish()
        if action is None:
            der.malformed("unknown action of publication")
        if infos is None:
            return cls(action)
        if action is PublicationAction.DONT_PUBLISH:
            der.malformed("places of publication beside dontPublish")
        return cls(action, decode_values(infos, SinglePubInfo.read))

    def encode(self) -> bytes:
        """The ``PKIPublicationInfo`` SEQUENCE."""
        infos = b""
        if self.pub_infos:
            infos = der.sequence(*(info.encode() for info in self.pub_infos))
        return der.sequence(der.integer(self.action), infos)


# --- archive --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyGenParameters:
    """From which the private key can be made again; no RFC says how.

    :ivar octets: contents of the OCTET STRING.
    """

    octets: bytes


@dataclass(frozen=True, slots=True)
class ArchiveRemGenPrivKey:
    """Whether a key pair that the receiver makes shall be archived."""

    wanted: bool


PKIArchiveOptions = EncryptedKey | KeyGenParameters | ArchiveRemGenPrivKey


def decode_archive_options(element: bytes) -> PKIArchiveOptions:
    """Read ``PKIArchiveOptions``, whole.

    :returns: for ``encryptedPrivKey`` the ``EncryptedKey`` itself.
    :raises PKIError: ``MALFORMED``.
    """
    tag = element[0] if element else 0
    contents = der.single(element, tag)
    if tag == _ENCRYPTED_PRIV_KEY:
        return decode_encrypted_key(contents)
    if tag == _KEY_GEN_PARAMETERS:
        return KeyGenParameters(contents)
    if tag != _ARCHIVE_REM_GEN_PRIV_KEY:
        der.malformed("unknown choice in PKIArchiveOptions")
    return ArchiveRemGenPrivKey(der.decode_boolean(contents))


def encode_archive_options(options: PKIArchiveOptions) -> bytes:
    """The ``PKIArchiveOptions``, whole."""
    match options:
        case EncryptedValue() | EnvelopedKey():
            # A tag around a CHOICE is explicit, also in a module of implicit tags.
            return der.explicit(0, options.encode())
        case KeyGenParameters():
            return der.encode(_KEY_GEN_PARAMETERS, options.octets)
        case ArchiveRemGenPrivKey():
            return der.implicit(2, der.boolean(value=options.wanted))
    assert_never(options)


# --- the table ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ControlType(OpenType[Value]):
    """A row of the table of controls and registration information."""

    def attribute(self, value: Value) -> AttributeTypeAndValue:
        """The attribute that holds this value."""
        return AttributeTypeAndValue(self.oid, self.encode(value))

    def find(self, attributes: Iterable[AttributeTypeAndValue]) -> Value | None:
        """Value of the one attribute of this type; None if there is none.

        :raises PKIError: ``MALFORMED`` when it is broken or stands twice.
        """
        found = self.find_all(attributes)
        if len(found) > 1:
            der.malformed(f"{self.name} stands twice")
        return found[0] if found else None

    def find_all(
        self, attributes: Iterable[AttributeTypeAndValue]
    ) -> tuple[Value, ...]:
        """Values of all attributes of this type, in their order.

        :raises PKIError: ``MALFORMED`` when one is broken.
        """
        return tuple(
            self.decode(attribute.value)
            for attribute in attributes
            if attribute.oid == self.oid
        )


def _decode_attribute(element: bytes) -> AttributeTypeAndValue:
    return AttributeTypeAndValue.decode(der.single(element, der.SEQUENCE))


def _decode_rsa_key_len(element: bytes) -> int:
    bits = der.decode_integer(der.single(element, der.INTEGER))
    if bits < 1:
        der.malformed("rsaKeyLen below 1")
    return bits


def _keep(element: bytes) -> bytes:
    return element


REG_TOKEN: Final = ControlType(
    oids.ID_REG_CTRL_REG_TOKEN, "regToken", decode_text_value, der.utf8_string
)
AUTHENTICATOR: Final = ControlType(
    oids.ID_REG_CTRL_AUTHENTICATOR, "authenticator", decode_text_value, der.utf8_string
)
PKI_PUBLICATION_INFO: Final = ControlType(
    oids.ID_REG_CTRL_PKI_PUBLICATION_INFO,
    "pkiPublicationInfo",
    PKIPublicationInfo.decode,
    PKIPublicationInfo.encode,
)
PKI_ARCHIVE_OPTIONS: Final = ControlType(
    oids.ID_REG_CTRL_PKI_ARCHIVE_OPTIONS,
    "pkiArchiveOptions",
    decode_archive_options,
    encode_archive_options,
)
OLD_CERT_ID: Final = ControlType(
    oids.ID_REG_CTRL_OLD_CERT_ID, "oldCertID", CertId.decode, CertId.encode
)
PROTOCOL_ENCR_KEY: Final = ControlType(
    oids.ID_REG_CTRL_PROTOCOL_ENCR_KEY, "protocolEncrKey", checked_sequence, _keep
)
ALT_CERT_TEMPLATE: Final = ControlType(
    oids.ID_REG_CTRL_ALT_CERT_TEMPLATE,
    "altCertTemplate",
    _decode_attribute,
    AttributeTypeAndValue.encode,
)
ALG_ID: Final = ControlType(
    oids.ID_REG_CTRL_ALG_ID, "algId", decode_algorithm, encode_algorithm
)
RSA_KEY_LEN: Final = ControlType(
    oids.ID_REG_CTRL_RSA_KEY_LEN, "rsaKeyLen", _decode_rsa_key_len, der.integer
)

ControlValue = (
    str
    | int
    | bytes
    | PKIPublicationInfo
    | PKIArchiveOptions
    | CertId
    | AttributeTypeAndValue
    | AlgorithmIdentifier
)
DECODERS: Final = {
    row.oid: row.decode
    for row in (
        REG_TOKEN,
        AUTHENTICATOR,
        PKI_PUBLICATION_INFO,
        PKI_ARCHIVE_OPTIONS,
        OLD_CERT_ID,
        PROTOCOL_ENCR_KEY,
        ALT_CERT_TEMPLATE,
        ALG_ID,
        RSA_KEY_LEN,
    )
}


def decode_control(control: AttributeTypeAndValue) -> ControlValue | None:
    """Value of a control; None when its type is not in the table.

    :raises PKIError: ``MALFORMED``.
    """
    decode = DECODERS.get(control.oid)
    return None if decode is None else decode(control.value)
