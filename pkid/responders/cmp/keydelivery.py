"""Keys that we made, on their way to who asked for them.

A key travels as ``AsymmetricKeyPackage``, signed by the key generation authority and
encrypted for one recipient. Who that is follows from how the request was protected:
the certificate that signed it, or the secret of its MAC. A control may name another
key for the answer.

**Source:** RFC 9810 sections 4.2.1.2 and 5.2.2; RFC 9483 section 4.1.6; RFC 4211
section 6.6; RFC 5958.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from pkid.asn1 import oids
from pkid.asn1.cms.content import SubjectKeyIdentifier
from pkid.crypto.algorithms import PublicKey
from pkid.crypto.certificates import Certificate
from pkid.crypto.envelope import (
    PasswordRecipient,
    PublicKeyRecipient,
    Recipient,
    recipient_of,
)
from pkid.crypto.identifiers import identifier_of
from pkid.crypto.kem import is_kem_public_key
from pkid.crypto.keyagreement import is_agreement_public_key
from pkid.crypto.publickeys import decode_spki
from pkid.crypto.signeddata import draft_signed_data
from pkid.engine.ports import Workers
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.header import CMP2021
from pkid.messages.controls import PROTOCOL_ENCR_KEY
from pkid.messages.crmf import CertReqMsg
from pkid.messages.encryptedkeys import EncryptedKey
from pkid.messages.keypackage import OneAsymmetricKey, encode_key_package
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.protection import read_certificate
from pkid.responders.cmp.requests import RandomOctets, Request
from pkid.responders.cmp.withholding import (
    check_version,
    encrypted_value,
    enveloped,
    transport_algorithm,
)

#: Of the password-based derivation; about 50 ms, in a worker.
ITERATIONS: Final = 100_000

_CANNOT: Final = frozenset((ErrorCode.BAD_ALGORITHM, ErrorCode.BAD_TEMPLATE))


class KeyDelivery:
    """Packs private keys for their owners."""

    def __init__(self, engine: Engine, workers: Workers, random: RandomOctets) -> None:
        self._engine = engine
        self._workers = workers
        self._random = random

    async def pack(
        self, request: Request, private_key: bytes, recipient: Recipient
    ) -> EncryptedKey:
        """A private key, signed and encrypted.

        :param private_key: PKCS #8, not encrypted.
        :param recipient: from `recipient_for`, found before the key was made.
        :raises PKIError: ``UNAVAILABLE`` when the key generation authority's key is out
            of reach; ``BAD_REQUEST`` when version 2 has no form for it.
        """
        package = OneAsymmetricKey.decode(private_key)
        if request.header.pvno < CMP2021:
            if not isinstance(recipient, PublicKeyRecipient):
                raise _old_form()
            return encrypted_value(
                private_key,
                recipient.public_key,
                self._random,
                intended=package.algorithm,
            )
        signed = await self._sign(request.alias.alias.authority, package)
        if isinstance(recipient, PasswordRecipient):
            return await self._workers.run(
                enveloped, signed, oids.ID_SIGNED_DATA, recipient
            )
        return enveloped(signed, oids.ID_SIGNED_DATA, recipient)

    async def _sign(self, authority: str, package: OneAsymmetricKey) -> bytes:
        """``SignedData`` over the package, by who may generate keys."""
        identity = self._engine.key_generators.identity(authority)
        certificate = read_certificate(identity.certificate)
        draft = draft_signed_data(
            encode_key_package(package),
            oids.ID_CT_KP_KEY_PACKAGE,
            identifier_of(certificate),
            identity.signer.algorithm,
            certificates=(identity.certificate, *identity.chain),
        )
        signature = await identity.signer.sign_message(draft.to_be_signed)
        return draft.complete(signature).encode()


def recipient_for(request: Request, message: CertReqMsg) -> Recipient:
    """Whom a private key that we make is encrypted for.

    :raises PKIError: ``BAD_TEMPLATE`` where no keys are made, so that publicKey is
        missing; ``NOT_AUTHORIZED`` when the credential cannot receive one;
        ``BAD_TEMPLATE``, ``BAD_ALGORITHM`` or ``MALFORMED`` for a bad key in
        ``protocolEncrKey``; ``BAD_REQUEST`` when version 2 has no form for it.

    **Source:** RFC 9483 section 4.1.6.
    """
    alias = request.alias
    if not alias.alias.key_generation:
        raise PKIError(
            ErrorCode.BAD_TEMPLATE,
            "publicKey is missing, and keys are not made here",
            hint=f"key_generation of alias {alias.name}",
        )
    check_version(request.header.pvno, alias, ErrorCode.BAD_REQUEST)
    named = PROTOCOL_ENCR_KEY.find(message.cert_req.controls)
    if named is not None:
        recipient: Recipient = recipient_of_control(request, message)
    elif request.proven.secret:
        recipient = PasswordRecipient(
            password=request.proven.secret, iterations=ITERATIONS
        )
    else:
        recipient = _recipient_of_signer(request)
    if request.header.pvno < CMP2021 and isinstance(recipient, PasswordRecipient):
        raise _old_form()
    return recipient


def recipient_of_control(request: Request, message: CertReqMsg) -> PublicKeyRecipient:
    """The key that ``protocolEncrKey`` names for the answer.

    :raises PKIError: ``BAD_REQUEST`` when it is missing or version 2 has no form for
        it; ``BAD_ALGORITHM``, ``BAD_TEMPLATE`` or ``MALFORMED`` for a bad key.
    """
    check_version(request.header.pvno, request.alias, ErrorCode.BAD_REQUEST)
    spki = PROTOCOL_ENCR_KEY.find(message.cert_req.controls)
    if spki is None:
        raise PKIError(
            ErrorCode.BAD_REQUEST, "protocolEncrKey is missing: whom is the key for?"
        )
    info = decode_spki(spki)
    key = info.load()
    if not _can_receive(key):
        raise PKIError(
            ErrorCode.BAD_ALGORITHM, "nothing can be encrypted to protocolEncrKey"
        )
    return PublicKeyRecipient(
        rid=SubjectKeyIdentifier(info.key_id),
        public_key=key,
        algorithm=transport_algorithm(request.alias, key),
    )


def _can_receive(key: PublicKey) -> bool:
    return (
        is_agreement_public_key(key)
        or is_kem_public_key(key)
        or isinstance(key, rsa.RSAPublicKey)
    )


def _recipient_of_signer(request: Request) -> PublicKeyRecipient:
    octets = request.proven.requester.certificate_der
    if octets is None:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED, "this credential cannot receive a private key"
        )
    certificate: Certificate = read_certificate(octets)
    try:
        recipient = recipient_of(certificate)
    except PKIError as error:
        if error.code not in _CANNOT:
            raise
        raise PKIError(ErrorCode.NOT_AUTHORIZED, error.detail) from error
    algorithm = transport_algorithm(request.alias, recipient.public_key)
    return replace(recipient, algorithm=algorithm)


def _old_form() -> PKIError:
    return PKIError(
        ErrorCode.BAD_REQUEST,
        "version 2 has no form for a key under a shared secret: use pvno 3",
    )
