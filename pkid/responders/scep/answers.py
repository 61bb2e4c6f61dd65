"""CertRep: every answer of SCEP, signed, and enveloped when it carries something.

An answer speaks as the request did: its digest, its cipher, its string type. Old
clients understand nothing else (SCEP-39); what an entrance does not take in a request
it does not use in an answer either.

**Source:** RFC 8894 sections 3.1, 3.2 and 3.3.2; RFC 5652 section 6.2.4 for passwords.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from pkid.asn1 import der, oids
from pkid.asn1.cms.content import IssuerAndSerialNumber
from pkid.asn1.cms.signed import encode_certs_only
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import hash_algorithm, signature_algorithm_for
from pkid.crypto.certificates import Certificate
from pkid.crypto.contentciphers import ContentCipher
from pkid.crypto.envelope import (
    PasswordRecipient,
    PublicKeyRecipient,
    Recipient,
    encrypt,
    encrypt_authenticated,
)
from pkid.crypto.identifiers import identifier_of
from pkid.crypto.signeddata import draft_signed_data
from pkid.engine.exchange import ExchangeIdentity
from pkid.engine.ports import Workers
from pkid.errors import ErrorCode, PKIError
from pkid.messages.scep import FailInfo, PKIStatus, response_attributes
from pkid.responders.scep.aliases import SCEPAlias
from pkid.responders.scep.failures import FAIL_INFO
from pkid.responders.scep.requests import (
    Answered,
    Opened,
    RandomOctets,
    Received,
    SilentError,
)

NONCE_OCTETS: Final = 16
DEFAULT_DIGEST: Final = "sha256"
# The most widely read way to name an RSA signature: the digest stands in its own field.
_RSA: Final = AlgorithmIdentifier(oids.RSA_ENCRYPTION, der.NULL)
#: No signature of ours uses MD5: its clients read SHA-1 too.
_ANSWERED_WITH: Final = {"md5": "sha1"}


class Answers:
    """Makes answers."""

    def __init__(self, workers: Workers, random: RandomOctets) -> None:
        self._workers = workers
        self._random = random

    async def success(
        self, opened: Opened, content: bytes, *, password: bytes = b""
    ) -> bytes:
        """SUCCESS with a content that the requester alone can read.

        :param content: a ``ContentInfo``.
        :param password: the challenge, by which a requester whose key cannot decrypt
            reads it (RFC 8894 section 3.1).
        :raises PKIError: ``BAD_ALGORITHM`` when nothing can be encrypted for it.
        """
        recipient = _recipient(opened.signed.signer, password)
        if isinstance(recipient, PasswordRecipient):
            # The derivation takes long.
            enveloped = await self._workers.run(
                _enveloped, content, recipient, opened.cipher, self._random
            )
        else:
            enveloped = _enveloped(content, recipient, opened.cipher, self._random)
        return await self._sign(
            opened.signed.received, PKIStatus.SUCCESS, content=enveloped
        )

    async def pending(self, received: Received) -> Answered:
        """PENDING: come back and ask."""
        octets = await self._sign(received, PKIStatus.PENDING)
        return Answered(octets=octets, status=PKIStatus.PENDING)

    async def failure(self, received: Received, error: PKIError) -> Answered:
        """FAILURE with the cause, unless it must stay here."""
        fail_info = FAIL_INFO[error.code]
        spoken = not isinstance(error, SilentError) and received.alias.fail_info_text
        octets = await self._sign(
            received,
            PKIStatus.FAILURE,
            fail_info=fail_info,
            text=error.detail if spoken else "",
        )
        return Answered(
            octets=octets,
            status=PKIStatus.FAILURE,
            fail_info=fail_info,
            cause=error.detail,
            hint=error.hint or "",
        )

    async def _sign(
        self,
        received: Received,
        status: PKIStatus,
        *,
        content: bytes | None = None,
        fail_info: FailInfo | None = None,
        text: str = "",
    ) -> bytes:
        attributes = response_attributes(
            status,
            received.addressing,
            self._random(NONCE_OCTETS),
            fail_info=fail_info,
            text=text,
        )
        if content is None and received.alias.empty_content:
            content = b""
        identity = received.identity
        digest = _ANSWERED_WITH.get(received.digest, received.digest)
        algorithm = signature_algorithm_for("rsa", digest)
        draft = draft_signed_data(
            content,
            oids.ID_DATA,
            _identifier(identity.certificate),
            algorithm,
            attributes=attributes,
            certificates=_signer_certificates(received.alias, identity),
        )
        signature = await identity.signer.sign_message(draft.to_be_signed, algorithm)
        plain = replace(
            draft, algorithm=_RSA, digest_algorithm=hash_algorithm(digest, null=True)
        )
        return plain.complete(signature).encode_content_info()


@lru_cache(maxsize=64)
def _identifier(certificate: bytes) -> IssuerAndSerialNumber:
    """How an answer names our own certificate; there are few of them."""
    return identifier_of(Certificate.decode(certificate))


def _signer_certificates(
    alias: SCEPAlias, identity: ExchangeIdentity
) -> tuple[bytes, ...]:
    return (identity.certificate,) if alias.include_signer else ()


def _recipient(signer: Certificate, password: bytes) -> Recipient:
    """Who opens an answer: the key that signed the request, or who knows its challenge.

    What the certificate says of its key's usage is not asked: clients sign with what
    they have.
    """
    public_key = signer.public_key_info.load()
    if isinstance(public_key, rsa.RSAPublicKey):
        return PublicKeyRecipient(rid=identifier_of(signer), public_key=public_key)
    if password:
        # OpenSSL's clients know only this way to wrap a key under a password.
        return PasswordRecipient(password=password, pwri_kek=True)
    raise PKIError(
        ErrorCode.BAD_ALGORITHM,
        "the answer cannot be encrypted: sign the request with an RSA key, or send a"
        " challenge password",
    )


def check_can_answer(signer: Certificate, password: bytes) -> None:
    """Refuse a requester that could not read its certificate, before it is made.

    :raises PKIError: ``BAD_ALGORITHM``.
    """
    _recipient(signer, password)


def _enveloped(
    content: bytes, recipient: Recipient, cipher: ContentCipher, random: RandomOctets
) -> bytes:
    if cipher.authenticated:
        made = encrypt_authenticated(content, (recipient,), random, cipher=cipher)
        return made.encode_content_info()
    return encrypt(
        content, (recipient,), random, cipher=cipher, legacy=True
    ).encode_content_info()


def certificates_content(
    alias: SCEPAlias, certificate: bytes, chain: tuple[bytes, ...]
) -> bytes:
    """The certs-only message with an issued certificate, which stands first.

    :param chain: issuing CA first, root last.

    **Source:** RFC 8894 sections 3.3.2.1 and 3.4.
    """
    beside = {"none": (), "issuer": chain[:1], "full": chain}[alias.include_chain]
    found = (certificate, *beside)
    if alias.sort_certificates:
        found = tuple(sorted(found))
    return encode_certs_only(found)
