"""genm {KemCiphertextInfo}: a client with a KEM key asks for a ciphertext.

It has nothing to protect its question with: its certificate is checked, and only who
has the key can do anything with the answer.

**Source:** RFC 9810 section 5.3.19.18 and appendix E, first flow.
"""

from __future__ import annotations

from pkid.asn1 import oids
from pkid.crypto.certificates import Certificate, allows_key_encipherment
from pkid.crypto.kem import encapsulate, is_kem_public_key, kem_algorithm
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType, GenMsgContent
from pkid.messages.cmp.header import InfoTypeAndValue
from pkid.messages.cmp.kem import KemCiphertextInfo
from pkid.messages.cmp.message import decode_body
from pkid.responders.cmp.answers import Answers, Draft
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.kemsecrets import UNUSED_PERIOD, KEMSecrets
from pkid.responders.cmp.protection import read_certificate
from pkid.responders.cmp.requests import Answered, Request
from pkid.responders.cmp.transactions import KeptAnswer


def asks_for_ciphertext(request: Request) -> bool:
    """Whether this is the question, and the alias answers it."""
    if not request.alias.kem or request.message.body_type is not BodyType.GENM:
        return False
    body = decode_body(request.message)
    asked = body.info_values if isinstance(body, GenMsgContent) else ()
    return [info.oid for info in asked] == [oids.ID_IT_KEM_CIPHERTEXT_INFO]


class KEMBootstrap:
    """Answers the question."""

    def __init__(self, engine: Engine, answers: Answers, secrets: KEMSecrets) -> None:
        self._engine = engine
        self._answers = answers
        self._secrets = secrets

    async def answer(self, request: Request) -> Answered:
        """Encapsulate to the first certificate that came along.

        :raises PKIError: ``MISSING_INFORMATION`` without certificate, ``BAD_REQUEST``
            for a value, ``BAD_ALGORITHM`` for a key that is not for a KEM,
            ``SIGNER_NOT_TRUSTED`` and the like for its holder.
        """
        message, alias = request.message, request.alias
        _check_no_value(request)
        certificate = _kem_certificate(request)
        key = self._secrets.client_key(alias, certificate, request.transaction_id)
        kept = await self._secrets.find(key)
        if kept is not None:
            return _repeated(kept.state.repeated(request.request_hash))
        await self._engine.identify(
            alias.alias, certificate.der, message.extra_certs[1:]
        )
        public_key = certificate.public_key_info.load()
        if not is_kem_public_key(public_key):
            raise PKIError(
                ErrorCode.BAD_ALGORITHM, "the certificate's key is not for a KEM"
            )
        made = encapsulate(public_key)
        info = KemCiphertextInfo(kem_algorithm(public_key), made.ciphertext)
        value = InfoTypeAndValue(oids.ID_IT_KEM_CIPHERTEXT_INFO, info.encode())
        draft = Draft(body_type=BodyType.GENP, body=GenMsgContent((value,)))
        sealed = await self._answers.answer(request, draft)
        await self._secrets.keep(
            key,
            message,
            made.shared_secret,
            request.request_hash,
            KeptAnswer(request.request_hash, sealed.octets),
            UNUSED_PERIOD,
        )
        return Answered(octets=sealed.octets)


def _check_no_value(request: Request) -> None:
    body = decode_body(request.message)
    if isinstance(body, GenMsgContent) and body.info_values[0].value is not None:
        raise PKIError(
            ErrorCode.BAD_REQUEST, "this infoType carries no value in a genm"
        )


def _kem_certificate(request: Request) -> Certificate:
    certificates = request.message.extra_certs
    if not certificates:
        raise PKIError(
            ErrorCode.MISSING_INFORMATION,
            "the KEM certificate is missing in extraCerts",
        )
    certificate = read_certificate(certificates[0])
    if not allows_key_encipherment(certificate):
        raise PKIError(
            ErrorCode.BAD_MESSAGE_CHECK,
            "the KEM certificate's keyUsage lacks keyEncipherment",
        )
    return certificate


def _repeated(octets: bytes | None) -> Answered:
    if octets is None:
        raise PKIError(
            ErrorCode.TRANSACTION_IN_USE, "another request has used this transaction id"
        )
    return Answered(octets=octets, repeated=True)
