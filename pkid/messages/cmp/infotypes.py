"""The values of general messages and general information: a table from OID to codec.

Pure. Each row is a constant: ``CA_CERTS.info(certificates)`` makes the piece of
information, ``CA_CERTS.find(header.general_info)`` reads it. Types that are not in the
table stay octets.

**Source:** RFC 9810 sections 5.1.1.1 to 5.1.1.5 and 5.3.19, appendix F.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.messages.cmp.announcements import (
    CAKeyUpdAnnContent,
    RootCaKeyUpdateContent,
)
from pkid.messages.cmp.certreqtemplate import CertReqTemplateContent
from pkid.messages.cmp.crlstatus import CRLStatus
from pkid.messages.cmp.header import InfoTypeAndValue
from pkid.messages.cmp.kem import KemCiphertextInfo
from pkid.messages.cmp.nested import decode_messages, encode_messages
from pkid.messages.encryptedkeys import (
    EncryptedKey,
    decode_encrypted_key,
    encode_encrypted_key,
)
from pkid.messages.opentypes import (
    OpenType,
    checked_sequence,
    decode_algorithm,
    decode_values,
    encode_algorithm,
)

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Null:
    """NULL: the value that says only that it is there."""

    @classmethod
    def decode(cls, element: bytes) -> Null:
        """Read NULL, whole.

        :raises PKIError: ``MALFORMED``.
        """
        der.decode_null(der.single(element, der.NULL_TAG))
        return cls()

    def encode(self) -> bytes:
        """NULL."""
        return der.NULL


def _decode_sequences(element: bytes) -> tuple[bytes, ...]:
    return decode_values(element, lambda cursor: cursor.raw(der.SEQUENCE))


def _encode_sequences(elements: tuple[bytes, ...]) -> bytes:
    return der.sequence(*elements)


def _decode_algorithms(element: bytes) -> tuple[AlgorithmIdentifier, ...]:
    return decode_values(
        element, lambda cursor: AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
    )


def _encode_algorithms(algorithms: tuple[AlgorithmIdentifier, ...]) -> bytes:
    return der.sequence(*(algorithm.encode() for algorithm in algorithms))


def _read_text(cursor: der.Cursor) -> str:
    return der.decode_utf8(cursor.take(der.UTF8_STRING))


def _decode_texts(element: bytes) -> tuple[str, ...]:
    return decode_values(element, _read_text)


def _decode_tags(element: bytes) -> tuple[str, ...]:
    # None at all is for the receiver to refuse: the ASN.1 module has no SIZE here.
    return decode_values(element, _read_text, least=0)


def _encode_texts(texts: tuple[str, ...]) -> bytes:
    return der.sequence(*(der.utf8_string(text) for text in texts))


def _decode_oid(element: bytes) -> str:
    return der.decode_oid(der.single(element, der.OID))


def _decode_oids(element: bytes) -> tuple[str, ...]:
    return decode_values(element, lambda cursor: der.decode_oid(cursor.take(der.OID)))


def _encode_oids(dotted: tuple[str, ...]) -> bytes:
    return der.sequence(*map(der.oid, dotted))


def _decode_statuses(element: bytes) -> tuple[CRLStatus, ...]:
    return decode_values(element, CRLStatus.read)


def _encode_statuses(statuses: tuple[CRLStatus, ...]) -> bytes:
    return der.sequence(*(status.encode() for status in statuses))


def _decode_time(element: bytes) -> datetime.datetime:
    return der.decode_generalized_time(der.single(element, der.GENERALIZED_TIME))


def _keep(element: bytes) -> bytes:
    return element


# --- the table ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InfoType(OpenType[Value]):
    """A row of the table."""

    def info(self, value: Value | None = None) -> InfoTypeAndValue:
        """The piece of information that holds this value, or none."""
        return InfoTypeAndValue(self.oid, None if value is None else self.encode(value))

    def read(self, info: InfoTypeAndValue) -> Value | None:
        """Value of a piece of information of this type; None when it has none.

        :raises PKIError: ``MALFORMED``.
        """
        return None if info.value is None else self.decode(info.value)

    def find(self, infos: Iterable[InfoTypeAndValue]) -> Value | None:
        """Value of the first of this type; None if there is none, or it has none.

        :raises PKIError: ``MALFORMED``.
        """
        for info in infos:
            if info.oid == self.oid:
                return self.read(info)
        return None


CA_PROT_ENC_CERT: Final = InfoType(
    oids.ID_IT_CA_PROT_ENC_CERT, "caProtEncCert", checked_sequence, _keep
)
SIGN_KEY_PAIR_TYPES: Final = InfoType(
    oids.ID_IT_SIGN_KEY_PAIR_TYPES,
    "signKeyPairTypes",
    _decode_algorithms,
    _encode_algorithms,
)
ENC_KEY_PAIR_TYPES: Final = InfoType(
    oids.ID_IT_ENC_KEY_PAIR_TYPES,
    "encKeyPairTypes",
    _decode_algorithms,
    _encode_algorithms,
)
PREFERRED_SYMM_ALG: Final = InfoType(
    oids.ID_IT_PREFERRED_SYMM_ALG,
    "preferredSymmAlg",
    decode_algorithm,
    encode_algorithm,
)
CA_KEY_UPDATE_INFO: Final = InfoType(
    oids.ID_IT_CA_KEY_UPDATE_INFO,
    "caKeyUpdateInfo",
    CAKeyUpdAnnContent.decode,
    CAKeyUpdAnnContent.encode,
)
CURRENT_CRL: Final = InfoType(
    oids.ID_IT_CURRENT_CRL, "currentCRL", checked_sequence, _keep
)
UNSUPPORTED_OIDS: Final = InfoType(
    oids.ID_IT_UNSUPPORTED_OIDS, "unsupportedOIDs", _decode_oids, _encode_oids
)
KEY_PAIR_PARAM_REQ: Final = InfoType(
    oids.ID_IT_KEY_PAIR_PARAM_REQ, "keyPairParamReq", _decode_oid, der.oid
)
KEY_PAIR_PARAM_REP: Final = InfoType(
    oids.ID_IT_KEY_PAIR_PARAM_REP,
    "keyPairParamRep",
    decode_algorithm,
    encode_algorithm,
)
REV_PASSPHRASE: Final = InfoType(
    oids.ID_IT_REV_PASSPHRASE,
    "revPassphrase",
    decode_encrypted_key,
    encode_encrypted_key,
)
IMPLICIT_CONFIRM: Final = InfoType(
    oids.ID_IT_IMPLICIT_CONFIRM, "implicitConfirm", Null.decode, Null.encode
)
CONFIRM_WAIT_TIME: Final = InfoType(
    oids.ID_IT_CONFIRM_WAIT_TIME, "confirmWaitTime", _decode_time, der.generalized_time
)
ORIG_PKI_MESSAGE: Final = InfoType(
    oids.ID_IT_ORIG_PKI_MESSAGE, "origPKIMessage", decode_messages, encode_messages
)
SUPP_LANG_TAGS: Final = InfoType(
    oids.ID_IT_SUPP_LANG_TAGS, "suppLangTags", _decode_tags, _encode_texts
)
CA_CERTS: Final = InfoType(
    oids.ID_IT_CA_CERTS, "caCerts", _decode_sequences, _encode_sequences
)
ROOT_CA_KEY_UPDATE: Final = InfoType(
    oids.ID_IT_ROOT_CA_KEY_UPDATE,
    "rootCaKeyUpdate",
    RootCaKeyUpdateContent.decode,
    RootCaKeyUpdateContent.encode,
)
CERT_REQ_TEMPLATE: Final = InfoType(
    oids.ID_IT_CERT_REQ_TEMPLATE,
    "certReqTemplate",
    CertReqTemplateContent.decode,
    CertReqTemplateContent.encode,
)
ROOT_CA_CERT: Final = InfoType(
    oids.ID_IT_ROOT_CA_CERT, "rootCaCert", checked_sequence, _keep
)
CERT_PROFILE: Final = InfoType(
    oids.ID_IT_CERT_PROFILE, "certProfile", _decode_texts, _encode_texts
)
CRL_STATUS_LIST: Final = InfoType(
    oids.ID_IT_CRL_STATUS_LIST, "crlStatusList", _decode_statuses, _encode_statuses
)
CRLS: Final = InfoType(oids.ID_IT_CRLS, "crls", _decode_sequences, _encode_sequences)
KEM_CIPHERTEXT_INFO: Final = InfoType(
    oids.ID_IT_KEM_CIPHERTEXT_INFO,
    "KemCiphertextInfo",
    KemCiphertextInfo.decode,
    KemCiphertextInfo.encode,
)

InfoValue = (
    bytes
    | str
    | tuple[bytes, ...]
    | tuple[str, ...]
    | tuple[AlgorithmIdentifier, ...]
    | tuple[CRLStatus, ...]
    | datetime.datetime
    | AlgorithmIdentifier
    | CAKeyUpdAnnContent
    | RootCaKeyUpdateContent
    | CertReqTemplateContent
    | EncryptedKey
    | KemCiphertextInfo
    | Null
)
DECODERS: Final[dict[str, Callable[[bytes], InfoValue]]] = {
    CA_PROT_ENC_CERT.oid: CA_PROT_ENC_CERT.decode,
    SIGN_KEY_PAIR_TYPES.oid: SIGN_KEY_PAIR_TYPES.decode,
    ENC_KEY_PAIR_TYPES.oid: ENC_KEY_PAIR_TYPES.decode,
    PREFERRED_SYMM_ALG.oid: PREFERRED_SYMM_ALG.decode,
    CA_KEY_UPDATE_INFO.oid: CA_KEY_UPDATE_INFO.decode,
    CURRENT_CRL.oid: CURRENT_CRL.decode,
    UNSUPPORTED_OIDS.oid: UNSUPPORTED_OIDS.decode,
    KEY_PAIR_PARAM_REQ.oid: KEY_PAIR_PARAM_REQ.decode,
    KEY_PAIR_PARAM_REP.oid: KEY_PAIR_PARAM_REP.decode,
    REV_PASSPHRASE.oid: REV_PASSPHRASE.decode,
    IMPLICIT_CONFIRM.oid: IMPLICIT_CONFIRM.decode,
    CONFIRM_WAIT_TIME.oid: CONFIRM_WAIT_TIME.decode,
    ORIG_PKI_MESSAGE.oid: ORIG_PKI_MESSAGE.decode,
    SUPP_LANG_TAGS.oid: SUPP_LANG_TAGS.decode,
    CA_CERTS.oid: CA_CERTS.decode,
    ROOT_CA_KEY_UPDATE.oid: ROOT_CA_KEY_UPDATE.decode,
    CERT_REQ_TEMPLATE.oid: CERT_REQ_TEMPLATE.decode,
    ROOT_CA_CERT.oid: ROOT_CA_CERT.decode,
    CERT_PROFILE.oid: CERT_PROFILE.decode,
    CRL_STATUS_LIST.oid: CRL_STATUS_LIST.decode,
    CRLS.oid: CRLS.decode,
    KEM_CIPHERTEXT_INFO.oid: KEM_CIPHERTEXT_INFO.decode,
}


def decode_info(info: InfoTypeAndValue) -> InfoValue | None:
    """Value of a piece of information; None when absent or of no type in the table.

    :raises PKIError: ``MALFORMED``.
    """
    decode = DECODERS.get(info.oid)
    if decode is None or info.value is None:
        return None
    return decode(info.value)
