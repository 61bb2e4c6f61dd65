"""/serverkeygen: the key pair is made here, and leaves once.

The key lives in memory for the length of the exchange; nothing of it is stored, logged
or given again: the same request once more makes another key. A client that names a key
to encrypt to gets it so or not at all.

**Source:** RFC 7030 section 4.4; RFC 5958; RFC 4108 section 2.2.5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pkid.asn1 import oids
from pkid.asn1.cms.enveloped import EnvelopedData
from pkid.asn1.names import Name
from pkid.crypto.certificates import Certificate
from pkid.crypto.contentciphers import ContentCipher
from pkid.crypto.envelope import PublicKeyRecipient, encrypt, recipient_of
from pkid.crypto.identifiers import identifier_of, key_identifier_of
from pkid.crypto.publickeys import decode_spki
from pkid.crypto.sharedkeys import SharedKey, encrypt_for_shared_key
from pkid.crypto.signeddata import draft_signed_data
from pkid.engine.model import (
    CertificateStatus,
    CredentialKind,
    EnrollmentRequest,
    GeneratedKey,
    GeneratedPossession,
    Issued,
    RequestedCertificate,
    TransactionKey,
)
from pkid.engine.ports import CertificateQuery
from pkid.errors import ErrorCode, PKIError
from pkid.messages.est import (
    CERTS_ONLY,
    PKCS8,
    SERVER_KEY,
    Part,
    encode_base64,
    encode_multipart,
    multipart_type,
)
from pkid.messages.keydelivery import DeliveryWishes
from pkid.messages.keypackage import OneAsymmetricKey, encode_key_package
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.base import Reply
from pkid.responders.est.aliases import PROTOCOL
from pkid.responders.est.binding import check_binding
from pkid.responders.est.bodies import NO_STORE, base64_form
from pkid.responders.est.doors import Engine
from pkid.responders.est.enrollment import certificates_of, no_state
from pkid.responders.est.requests import Request

BOUNDARY_OCTETS: Final = 16
TRANSACTION_OCTETS: Final = 32
MAX_CANDIDATES: Final = 16
_CIPHERS: Final = {
    oids.ID_AES256_CBC: ContentCipher.AES_256_CBC,
    oids.ID_AES192_CBC: ContentCipher.AES_192_CBC,
    oids.ID_AES128_CBC: ContentCipher.AES_128_CBC,
}
_WRAPS: Final = frozenset(
    (oids.ID_AES128_WRAP, oids.ID_AES192_WRAP, oids.ID_AES256_WRAP)
)

Recipient = SharedKey | PublicKeyRecipient


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How the private key leaves.

    :ivar recipient: whom it is encrypted to; None for TLS alone.
    """

    recipient: Recipient | None = None
    cipher: ContentCipher = ContentCipher.AES_256_CBC


class KeyGeneration:
    """Answers /serverkeygen.

    :param random: octets from the system's CSPRNG.
    """

    def __init__(self, engine: Engine, random: Callable[[int], bytes]) -> None:
        self._engine = engine
        self._random = random

    async def answer(self, request: Request) -> Reply:
        """Private key and certificate.

        :raises PKIError: the refusal; ``NOT_FOUND`` where no keys are made.
        """
        if not request.alias.alias.key_generation:
            raise PKIError(
                ErrorCode.NOT_FOUND,
                "this operation is not offered here",
                hint=f"key_generation of alias {request.alias.name}",
            )
        csr = CertificationRequest.decode(request.octets)
        check_binding(request, csr)
        delivery = await self._delivery(request, csr)
        self._check_usable(request)
        outcome = await self._engine.enroll(self._enrollment(request, csr), no_state)
        if not isinstance(outcome, Issued) or outcome.generated is None:
            raise PKIError(ErrorCode.INTERNAL, "a key was to be made and was not")
        octets, content_type = await self._key(request, outcome.generated, delivery)
        return self._reply(request, outcome, octets, content_type)

    def _check_usable(self, request: Request) -> None:
        """A code that is used up fetches nothing: the key is no longer here."""
        if not request.proven.usable:
            raise PKIError(
                ErrorCode.BAD_MESSAGE_CHECK,
                "wrong user or password",
                hint=request.proven.hint,
            )

    def _enrollment(
        self, request: Request, csr: CertificationRequest
    ) -> EnrollmentRequest:
        transaction = self._random(TRANSACTION_OCTETS)
        algorithm = None
        if request.alias.server_key == "request":
            algorithm = decode_spki(csr.spki).algorithm
        return EnrollmentRequest(
            alias=request.alias.name,
            context=request.context,
            requester=request.requester,
            requested=RequestedCertificate(
                subject=Name.decode(csr.subject), extensions=csr.extension_request
            ),
            possession=GeneratedPossession(algorithm),
            transaction=TransactionKey(
                PROTOCOL, request.alias.name, request.requester.identity, transaction
            ),
            request_hash=transaction,
        )

    # --- for whom -----------------------------------------------------------------

    async def _delivery(self, request: Request, csr: CertificationRequest) -> Delivery:
        """How the key is to leave; decided before it is made.

        :raises PKIError: ``BAD_ALGORITHM``, ``MISSING_INFORMATION`` and others when
            what the client asks for cannot be done: plain text is no way out.
        """
        wishes = DeliveryWishes.of(csr)
        if wishes.symmetric is None and wishes.asymmetric is None:
            if request.alias.encrypted_keys:
                raise PKIError(
                    ErrorCode.BAD_TEMPLATE,
                    "name a key to encrypt to: private keys leave encrypted only",
                )
            return Delivery()
        cipher = _cipher(wishes)
        if wishes.symmetric is not None:
            shared = await self._shared_key(request, wishes.symmetric)
            _check_wrap(wishes, shared.wrap.oid)
            return Delivery(recipient=shared, cipher=cipher)
        recipient = await self._public_key(request, wishes.asymmetric or b"")
        return Delivery(recipient=recipient, cipher=cipher)

    async def _shared_key(self, request: Request, identifier: bytes) -> SharedKey:
        name = identifier.decode("utf-8", "replace")
        found = await self._engine.find_secret(
            CredentialKind.KEY_ENCRYPTION, name, request.alias.name
        )
        entity = request.requester.entity
        if (
            found is None
            or not found.usable
            or found.credential.entity not in {"", entity}
        ):
            raise _unknown_key("pkid secret add --kind key-encryption")
        return SharedKey.from_text(identifier, found.secret)

    async def _public_key(
        self, request: Request, identifier: bytes
    ) -> PublicKeyRecipient:
        """The certificate of the connection, or another of the same end entity."""
        requester = request.requester
        own = requester.certificate_der
        candidates = [] if own is None else [own]
        if requester.entity is not None:
            candidates += await self._certificates_of(requester.entity)
        for octets in candidates:
            certificate = Certificate.decode(octets)
            if key_identifier_of(certificate) == identifier:
                return recipient_of(certificate)
        raise _unknown_key("the key identifier is that of no certificate of the entity")

    async def _certificates_of(self, entity: str) -> list[bytes]:
        query = CertificateQuery(
            entity=entity, status=CertificateStatus.ACTIVE, limit=MAX_CANDIDATES
        )
        return [
            await self._engine.certificate_der(record.reference)
            for record in await self._engine.search_certificates(query)
        ]

    # --- the answer ---------------------------------------------------------------

    async def _key(
        self, request: Request, generated: GeneratedKey, delivery: Delivery
    ) -> tuple[bytes, str]:
        """The private key as it leaves, and its media type."""
        if delivery.recipient is None:
            return generated.private_key, PKCS8
        package = encode_key_package(OneAsymmetricKey.decode(generated.private_key))
        signed = await self._signed(request, package)
        enveloped = self._enveloped(signed, delivery)
        return enveloped.encode_content_info(), SERVER_KEY

    async def _signed(self, request: Request, package: bytes) -> bytes:
        """``SignedData`` over the package, by who makes keys."""
        identity = self._engine.key_generators.identity(request.alias.alias.authority)
        signer = Certificate.decode(identity.certificate)
        draft = draft_signed_data(
            package,
            oids.ID_CT_KP_KEY_PACKAGE,
            identifier_of(signer),
            identity.signer.algorithm,
            certificates=(identity.certificate, *identity.chain[:-1]),
        )
        signature = await identity.signer.sign_message(draft.to_be_signed)
        return draft.complete(signature).encode()

    def _enveloped(self, signed: bytes, delivery: Delivery) -> EnvelopedData:
        recipient, cipher = delivery.recipient, delivery.cipher
        if isinstance(recipient, SharedKey):
            return encrypt_for_shared_key(
                signed,
                recipient,
                self._random,
                content_type=oids.ID_SIGNED_DATA,
                cipher=cipher,
            )
        if recipient is None:
            raise PKIError(ErrorCode.INTERNAL, "nobody to encrypt to")
        return encrypt(
            signed,
            (recipient,),
            self._random,
            cipher=cipher,
            content_type=oids.ID_SIGNED_DATA,
        )

    def _reply(
        self, request: Request, issued: Issued, key: bytes, content_type: str
    ) -> Reply:
        """Both parts, the key first."""
        form = base64_form(request.alias, request.exchange)
        boundary = self._random(BOUNDARY_OCTETS).hex()
        certificates = certificates_of(request.alias, issued)
        body = encode_multipart(
            (
                Part(content_type, encode_base64(key, form)),
                Part(CERTS_ONLY, encode_base64(certificates, form)),
            ),
            boundary,
        )
        return Reply(
            body=body, content_type=multipart_type(boundary), headers=(NO_STORE,)
        )


def _cipher(wishes: DeliveryWishes) -> ContentCipher:
    """The client's first choice among the ciphers that we have.

    :raises PKIError: ``BAD_ALGORITHM`` when it knows nothing that we have.
    """
    for capability in wishes.capabilities:
        if capability.oid in _CIPHERS:
            return _CIPHERS[capability.oid]
    ours = _WRAPS | {oids.RSA_ENCRYPTION, oids.ID_RSAES_OAEP}
    if wishes.capabilities and ours.isdisjoint(one.oid for one in wishes.capabilities):
        raise PKIError(
            ErrorCode.BAD_ALGORITHM,
            "SMIMECapabilities name no algorithm that private keys are encrypted with",
        )
    return ContentCipher.AES_256_CBC


def _check_wrap(wishes: DeliveryWishes, oid: str) -> None:
    listed = {one.oid for one in wishes.capabilities} & _WRAPS
    if listed and oid not in listed:
        raise PKIError(
            ErrorCode.BAD_ALGORITHM, "SMIMECapabilities lack the key's own key wrap"
        )


def _unknown_key(hint: str) -> PKIError:
    return PKIError(
        ErrorCode.MISSING_INFORMATION,
        "the key to encrypt to is not known here",
        hint=hint,
    )
