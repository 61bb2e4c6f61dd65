"""From octets to a request: read, verify who signed, and only then decrypt.

The private key is used last, because the work is the sender's choice, and for nobody
whose signature does not verify. From its use on every fault is the same one.

**Source:** RFC 8894 sections 2.3, 2.4, 3.1 and 3.2; RFC 3218 section 2.3.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.cms.content import single_value
from pkid.asn1.cms.enveloped import AuthEnvelopedData, EnvelopedData
from pkid.asn1.cms.recipients import KeyTransRecipientInfo
from pkid.crypto.certificates import Certificate
from pkid.crypto.contentciphers import ContentCipher, decode_content_encryption
from pkid.crypto.decryption import decrypt_authenticated_content, decrypt_content
from pkid.crypto.identifiers import is_named
from pkid.crypto.signeddata import is_signer, verify_signed_data
from pkid.engine.exchange import ExchangeIdentity
from pkid.engine.model import Requester
from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.messages.scep import MessageType, decode_enveloped
from pkid.responders.scep.aliases import SCEPAlias
from pkid.responders.scep.digests import digest_name, verify_md5
from pkid.responders.scep.doors import Engine
from pkid.responders.scep.requests import Opened, Received, Signed, SilentError
from pkid.responders.throttle import FailureThrottle

MAX_SIGNER_BITS: Final = 8192
#: Requests whose key is being recovered at a time; more are told to come again.
MAX_OPENING: Final = 128

_REQUESTS: Final = frozenset(
    (
        MessageType.PKCS_REQ,
        MessageType.RENEWAL_REQ,
        MessageType.CERT_POLL,
        MessageType.GET_CERT,
        MessageType.GET_CRL,
    )
)


class Opening:
    """Verifies and decrypts."""

    def __init__(self, engine: Engine, clock: Clock, throttle: FailureThrottle) -> None:
        self._engine = engine
        self._clock = clock
        self._throttle = throttle
        self._under_way = 0

    async def verify(self, received: Received) -> Signed:
        """Check the signature, and find out whose it is.

        :raises PKIError: ``BAD_ALGORITHM``, ``BAD_MESSAGE_CHECK``, ``BAD_REQUEST``,
            ``BAD_TIME``; of the signer's certificate ``CERTIFICATE_REVOKED``,
            ``SIGNER_NOT_TRUSTED``, ``NOT_AUTHORIZED``; ``BUSY`` for who fails often.
        """
        self._throttle.check(received.peer)
        attributes = received.message.attributes
        alias = received.alias
        message_type = _type_of(attributes.message_type, alias)
        signer = _signer_of(received)
        _verify(received, signer)
        self._check_time(received)
        requester = await self._identify(received, signer)
        return Signed(
            received=received,
            attributes=attributes,
            type=message_type,
            signer=signer,
            requester=requester,
        )

    async def _identify(
        self, received: Received, signer: Certificate
    ) -> Requester | None:
        """Whose certificate it is; None for one that the client made itself."""
        if signer.is_self_issued:
            return None
        others = [
            octets
            for octets in received.message.signed.x509_certificates
            if octets != signer.der
        ]
        try:
            return await self._engine.identify(received.alias.alias, signer.der, others)
        except PKIError:
            self._throttle.count(received.peer)
            raise

    def _check_time(self, received: Received) -> None:
        """Refuse a stale message where the entrance wants fresh ones.

        :raises PKIError: ``BAD_TIME``.
        """
        window = received.alias.signing_time_window
        if window is None:
            return
        element = single_value(
            received.message.signer.signed_attributes, oids.PKCS9_SIGNING_TIME
        )
        if element is None:
            raise PKIError(ErrorCode.BAD_TIME, "the message has no signingTime")
        moment = der.decode_time(element[0], der.single(element, element[0]))
        if not _is_near(moment, self._clock.now(), window):
            raise PKIError(ErrorCode.BAD_TIME, "the signingTime is too far off")

    # --- decrypting --------------------------------------------------------------

    async def open(self, signed: Signed) -> Opened:
        """Decrypt what the message carries.

        :raises PKIError: ``MALFORMED``, ``BAD_REQUEST``, ``BAD_ALGORITHM`` for what
            can be said before the private key is used, then `SilentError` only;
            ``BUSY``.
        """
        content = signed.received.message.signed.encapsulated.content or b""
        enveloped = decode_enveloped(content)
        cipher = _cipher_of(enveloped, signed.alias)
        info = _recipient(enveloped, signed.received.identity)
        key = await self._recover(signed.received, info, cipher.key_octets)
        try:
            opened = _decrypted(enveloped, key)
        except PKIError as error:
            self._throttle.count(signed.received.peer)
            raise SilentError(error.detail) from None
        return Opened(signed=signed, content=opened, cipher=cipher)

    async def _recover(
        self, received: Received, info: KeyTransRecipientInfo, size: int
    ) -> bytes:
        if self._under_way >= MAX_OPENING:
            raise PKIError(
                ErrorCode.BUSY, "too many requests are being decrypted", retry_after=1
            )
        self._under_way += 1
        try:
            return await received.identity.decrypter.recover_key(
                info.key_encryption_algorithm, info.encrypted_key, size
            )
        finally:
            self._under_way -= 1


def _type_of(number: int, alias: SCEPAlias) -> MessageType:
    """The type of a request; anything else ends here (CVE-2026-30836).

    :raises PKIError: ``BAD_REQUEST``.

    **Source:** RFC 8894 section 3.2.1.2; 18 is UpdateReq of drafts.
    """
    if number == MessageType.UPDATE_REQ and alias.update_requests == "renew":
        return MessageType.RENEWAL_REQ
    for known in _REQUESTS:
        if number == known:
            return known
    raise PKIError(
        ErrorCode.BAD_REQUEST, f"messageType {number} is no request that is known here"
    )


def _signer_of(received: Received) -> Certificate:
    """The certificate whose key signed the message.

    :raises PKIError: ``BAD_MESSAGE_CHECK`` when it is not in the message.
    """
    message = received.message
    for octets in message.signed.x509_certificates:
        certificate = Certificate.decode(octets)
        if is_signer(message.signer, certificate):
            return certificate
    raise PKIError(
        ErrorCode.BAD_MESSAGE_CHECK, "the signer's certificate is not in the message"
    )


def _verify(received: Received, signer: Certificate) -> None:
    alias, message = received.alias, received.message
    if message.signer.signed_attributes_octets is None:
        raise PKIError(ErrorCode.BAD_REQUEST, "signed attributes are missing")
    name = digest_name(message.signer.digest_algorithm)
    if not alias.admits_digest(name):
        raise PKIError(
            ErrorCode.BAD_ALGORITHM,
            f"messages with {name} are not taken here",
            hint=f"allow_sha1, allow_md5 of [scep.alias.{alias.name}]",
        )
    key = signer.public_key_info
    if key.family == "rsa" and key.bits > MAX_SIGNER_BITS:
        raise PKIError(
            ErrorCode.BAD_ALGORITHM, f"an RSA key of {key.bits} bits is too large"
        )
    if message.signed.encapsulated.content_type != oids.ID_DATA:
        raise PKIError(ErrorCode.BAD_REQUEST, "the signed content is not of type data")
    if name == "md5":
        verify_md5(message, key)
    else:
        verify_signed_data(
            message.signed, message.signer, key, allow_sha1=alias.allow_sha1
        )


def _is_near(moment: datetime, now: datetime, window: timedelta) -> bool:
    return abs(moment - now) <= window


def _cipher_of(
    enveloped: EnvelopedData | AuthEnvelopedData, alias: SCEPAlias
) -> ContentCipher:
    """The content's cipher, if the entrance takes it.

    :raises PKIError: ``BAD_ALGORITHM``.
    """
    algorithm = enveloped.encrypted_content_info.algorithm
    cipher = decode_content_encryption(algorithm, legacy=True).cipher
    if not alias.admits_cipher(cipher):
        raise PKIError(
            ErrorCode.BAD_ALGORITHM,
            f"requests encrypted with {cipher.value} are not taken here",
            hint=f"allow_des3, allow_des of [scep.alias.{alias.name}]",
        )
    return cipher


def _recipient(
    enveloped: EnvelopedData | AuthEnvelopedData, identity: ExchangeIdentity
) -> KeyTransRecipientInfo:
    """The encrypted key that is meant for us, among several perhaps.

    :raises PKIError: ``BAD_MESSAGE_CHECK``: nothing secret was used yet, so it says
        what is wrong.
    """
    for info in enveloped.recipient_infos:
        if isinstance(info, KeyTransRecipientInfo) and any(
            is_named(info.rid, certificate) for certificate in identity.recipients
        ):
            return info
    raise PKIError(
        ErrorCode.BAD_MESSAGE_CHECK,
        "the request is encrypted to another certificate: get the CA certificates anew",
    )


def _decrypted(enveloped: EnvelopedData | AuthEnvelopedData, key: bytes) -> bytes:
    if isinstance(enveloped, EnvelopedData):
        return decrypt_content(enveloped, key, legacy=True)
    return decrypt_authenticated_content(enveloped, key)
