"""Proofs of possession that take a key of ours: an agreed MAC, or the key itself.

A client that agrees upon keys may prove its own by a MAC that only both of us can
compute. A client that hands its private key over has it decrypted, compared with the
public key that it wants certified, kept only if the archive is on, and forgotten. What
is wrong with a proof is not told apart: we decrypt what strangers send.

**Source:** RFC 4211 sections 4.2 and 4.3; RFC 9810 sections 5.2.8.2 and 5.2.8.3.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from pkid.asn1 import oids
from pkid.asn1.cms.enveloped import EncryptedContentInfo, EnvelopedData
from pkid.asn1.cms.recipients import (
    KEMRecipientInfo,
    KeyAgreeRecipientInfo,
    KeyTransRecipientInfo,
    OriginatorPublicKey,
    PasswordRecipientInfo,
)
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.agreedmac import DHBMParameters
from pkid.crypto.decryption import (
    content_key_octets,
    decrypt_content,
    recover_key_with_password,
    unwrap_agreed,
    unwrap_encapsulated,
)
from pkid.crypto.identifiers import is_named
from pkid.crypto.keyagreement import originator_spki
from pkid.crypto.keyedmac import compute_mac
from pkid.crypto.passwordkeys import PBKDF2Parameters
from pkid.crypto.publickeys import decode_spki
from pkid.engine import possession
from pkid.engine.model import PossessionMethod, ProvenPossession
from pkid.engine.ports import Workers
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.header import CMP2021
from pkid.messages.crmf import (
    CertReqMsg,
    PKMACValue,
    POPOPrivKey,
    POPOSigningKey,
    SubsequentMessage,
)
from pkid.messages.encryptedkeys import EncKeyWithID, EncryptedValue, EnvelopedKey
from pkid.messages.privkeyproofs import DHMAC, decode_proof
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.protection import read_certificate
from pkid.responders.cmp.requests import Request


@dataclass(frozen=True, slots=True)
class Shown:
    """A proof, and the private key where that was it.

    :ivar private_key: PKCS #8, not encrypted; b"" for other proofs.
    """

    proof: ProvenPossession
    private_key: bytes = field(default=b"", repr=False)


class KeyProofs:
    """Checks proofs of possession with keys of ours."""

    def __init__(self, engine: Engine, workers: Workers) -> None:
        self._engine = engine
        self._workers = workers

    async def check(self, request: Request, message: CertReqMsg) -> Shown | None:
        """What a request shows with a key of ours; None when it is another way.

        :raises PKIError: ``BAD_POSSESSION`` for what is not taken and for what does
            not prove the key; ``BAD_REQUEST`` for a proof that needs version 3.
        """
        popo = message.popo
        if isinstance(popo, POPOSigningKey):
            if popo.algorithm.oid != oids.ID_DH_BASED_MAC:
                return None
            # RFC 9810 section 5.2.8.2: the MAC stands where a signature would.
            value = PKMACValue(popo.algorithm, popo.signature)
            return Shown(await self._check_mac(request, message, value))
        if not isinstance(popo, POPOPrivKey):
            return None
        return await self._check_popo(request, message, popo)

    async def _check_popo(
        self, request: Request, message: CertReqMsg, popo: POPOPrivKey
    ) -> Shown | None:
        match decode_proof(popo):
            case SubsequentMessage():
                return None
            case PKMACValue() as value:
                _need_version_3(request)
                return Shown(await self._check_mac(request, message, value))
            case EnvelopedKey() as key:
                _need_version_3(request)
                return await self._check_key(request, message, key)
            case EncryptedValue() as old:
                return await self._check_old_key(request, message, old)
            case DHMAC():
                raise _refused("dhMAC is deprecated and not taken: use agreeMAC")

    # --- an agreed MAC -----------------------------------------------------------

    async def _check_mac(
        self, request: Request, message: CertReqMsg, mac: PKMACValue
    ) -> ProvenPossession:
        """A MAC over the CertRequest, keyed by what both keys agree upon.

        **Source:** RFC 4211 section 4.2 (both subject and publicKey are there).
        """
        possession.check_taken(PossessionMethod.AGREED_MAC, request.alias.alias)
        template = message.cert_req.cert_template
        if template.spki is None or template.subject is None:
            raise _refused("an agreed MAC covers subject and publicKey")
        identity = self._engine.find_agreement_identity(request.alias.alias.authority)
        if identity is None:
            raise _refused("no key of ours agrees upon others")
        key = decode_spki(template.spki)
        try:
            secret = await identity.key.agree(template.spki)
            computed = _agreed_mac(mac.algorithm, secret, message.cert_req.der)
        except PKIError as error:
            raise _unproven(error) from error
        if not hmac.compare_digest(computed, mac.value):
            raise _unproven()
        return ProvenPossession(PossessionMethod.AGREED_MAC, key.fingerprint)

    # --- the key itself ----------------------------------------------------------

    async def _check_key(
        self, request: Request, message: CertReqMsg, key: EnvelopedKey
    ) -> Shown:
        """The private key, decrypted and compared.

        **Source:** RFC 4211 section 4.2.1; RFC 9810 section 5.2.8.3.1.
        """
        possession.check_taken(PossessionMethod.ENCRYPTED_KEY, request.alias.alias)
        try:
            found = await self.open_key(request, key)
            subject = message.cert_req.cert_template.subject
            _check_identifier(found, request, subject)
        except PKIError as error:
            raise _unproven(error) from error
        return await self._compared(message, found.private_key)

    async def _check_old_key(
        self, request: Request, message: CertReqMsg, value: EncryptedValue
    ) -> Shown:
        """The private key as version 2 hands it over; it names no owner.

        **Source:** RFC 4211 section 4.2 (thisMessage, deprecated).
        """
        possession.check_taken(PossessionMethod.ENCRYPTED_KEY, request.alias.alias)
        if not request.alias.encrypted_value:
            raise _refused("thisMessage is deprecated and not taken: use encryptedKey")
        try:
            private_key = await self.open_value(request, value)
        except PKIError as error:
            raise _unproven(error) from error
        return await self._compared(message, private_key)

    async def _compared(self, message: CertReqMsg, private_key: bytes) -> Shown:
        """A private key that was handed over, compared with the key to certify."""
        spki = message.cert_req.cert_template.spki
        if spki is None:
            raise PKIError(ErrorCode.BAD_TEMPLATE, "publicKey is missing")
        wanted = decode_spki(spki)
        try:
            public = await self._engine.key_receivers.public_key_of(private_key)
        except PKIError as error:
            raise _unproven(error) from error
        if not hmac.compare_digest(public, spki):
            raise _unproven()
        proof = ProvenPossession(PossessionMethod.ENCRYPTED_KEY, wanted.fingerprint)
        return Shown(proof, private_key)

    async def open_key(self, request: Request, key: EnvelopedKey) -> EncKeyWithID:
        """A private key that was encrypted for us, with whose it is.

        :raises PKIError: ``BAD_REQUEST`` for another content or when it is not for a
            key of ours; ``BAD_ALGORITHM``, ``MALFORMED``, ``BAD_MESSAGE_CHECK``.
        """
        octets = await self._open(request, key, oids.ID_CT_ENC_KEY_WITH_ID)
        return EncKeyWithID.decode(octets)

    async def open_data(self, request: Request, key: EnvelopedKey) -> bytes:
        """Octets that were encrypted for us, no key.

        :raises PKIError: as `open_key`.
        """
        return await self._open(request, key, oids.ID_DATA)

    async def _open(
        self, request: Request, key: EnvelopedKey, content_type: str
    ) -> bytes:
        enveloped = EnvelopedData.decode(key.enveloped)
        if enveloped.encrypted_content_info.content_type != content_type:
            raise PKIError(
                ErrorCode.BAD_REQUEST, "the encrypted content is of another type"
            )
        content_key_octets(enveloped.encrypted_content_info)
        content_key = await self._content_key(request, enveloped)
        return decrypt_content(enveloped, content_key)

    async def _content_key(self, request: Request, enveloped: EnvelopedData) -> bytes:
        """By the one recipient information that is there: ours, or a password's."""
        infos = enveloped.recipient_infos
        authority = request.alias.alias.authority
        match infos:
            case (PasswordRecipientInfo() as wrapped,) if request.proven.secret:
                _check_cost(wrapped, request.alias.maximum_iterations)
                return await self._workers.run(
                    recover_key_with_password, infos, request.proven.secret
                )
            case (KeyTransRecipientInfo() as transported,):
                size = content_key_octets(enveloped.encrypted_content_info)
                return await self._transported_key(authority, transported, size)
            case (KeyAgreeRecipientInfo() as agreed,):
                return await self._agreed_key(authority, agreed)
            case (KEMRecipientInfo() as encapsulated,):
                kem = self._engine.find_kem_identity(authority)
                if kem is not None:
                    secret = await kem.key.decapsulate(
                        encapsulated.kem, encapsulated.kemct
                    )
                    return unwrap_encapsulated(encapsulated, secret)
        raise _not_for_us()

    async def _transported_key(
        self, authority: str, info: KeyTransRecipientInfo, size: int
    ) -> bytes:
        identity = self._engine.key_receivers.find(authority)
        if identity is None or not is_named(
            info.rid, read_certificate(identity.certificate)
        ):
            raise _not_for_us()
        return await identity.key.recover_key(
            info.key_encryption_algorithm, info.encrypted_key, size
        )

    async def open_value(self, request: Request, value: EncryptedValue) -> bytes:
        """Octets that were encrypted for us in the way of version 2.

        :raises PKIError: ``BAD_REQUEST`` when it is not for a key of ours;
            ``BAD_ALGORITHM``, ``MALFORMED``, ``BAD_MESSAGE_CHECK``.

        **Source:** RFC 4211 section 6.4.
        """
        identity = self._engine.key_receivers.find(request.alias.alias.authority)
        wrapped, transport, cipher = value.enc_symm_key, value.key_alg, value.symm_alg
        if identity is None or wrapped is None or transport is None or cipher is None:
            raise _not_for_us()
        content = EncryptedContentInfo(oids.ID_DATA, cipher, value.enc_value)
        size = content_key_octets(content)
        key = await identity.key.recover_key(transport, wrapped, size)
        return decrypt_content(EnvelopedData.build((), content), key)

    async def _agreed_key(self, authority: str, info: KeyAgreeRecipientInfo) -> bytes:
        identity = self._engine.find_agreement_identity(authority)
        originator = info.originator
        if identity is None or not isinstance(originator, OriginatorPublicKey):
            raise _not_for_us()
        certificate = read_certificate(identity.certificate)
        theirs = originator_spki(originator, certificate.public_key_info)
        secret = await identity.key.agree(theirs)
        return unwrap_agreed(info, secret, certificate)


def _agreed_mac(
    algorithm: AlgorithmIdentifier, shared_secret: bytes, covered: bytes
) -> bytes:
    parameters = DHBMParameters.decode(algorithm)
    return compute_mac(parameters.mac, parameters.derive(shared_secret), covered)


def _check_identifier(
    found: EncKeyWithID, request: Request, subject: bytes | None
) -> None:
    """Whoever packed the key must have known for whom.

    Otherwise a key caught on its way to an archive would prove possession.

    **Source:** RFC 4211 section 4.2.1.
    """
    named = found.identifier
    if isinstance(named, str):
        fits = named in _texts_of(request)
    elif isinstance(named, GeneralName):
        fits = named == request.header.sender or _is_subject(named, subject)
    else:
        fits = False
    if not fits:
        raise PKIError(
            ErrorCode.BAD_POSSESSION, "the encrypted key does not name its owner"
        )


def _texts_of(request: Request) -> set[str]:
    """What an identifier in plain text may be: the reference, or the entity."""
    kid = request.header.sender_kid or b""
    known = {kid.decode("utf-8", "replace"), request.requester.entity or ""}
    return known - {""}


def _is_subject(named: GeneralName, subject: bytes | None) -> bool:
    name = named.directory_name
    return (
        name is not None
        and not name.is_empty
        and subject is not None
        and name.matches(Name.decode(subject))
    )


def _need_version_3(request: Request) -> None:
    """RFC 9810 section 5.2.8.3."""
    if request.header.pvno < CMP2021:
        raise PKIError(ErrorCode.BAD_REQUEST, "this proof of possession needs pvno 3")


def _check_cost(info: PasswordRecipientInfo, maximum: int) -> None:
    """A password's derivation may cost no more than that of a MAC."""
    derivation = info.key_derivation_algorithm
    if derivation is None:
        raise _not_for_us()
    if PBKDF2Parameters.decode(derivation).iterations > maximum:
        raise PKIError(
            ErrorCode.BAD_ALGORITHM, f"at most {maximum} iterations are accepted here"
        )


def _not_for_us() -> PKIError:
    return PKIError(ErrorCode.BAD_REQUEST, "it is not encrypted to a key of ours")


def _refused(detail: str) -> PKIError:
    return PKIError(ErrorCode.BAD_POSSESSION, detail)


def _unproven(cause: PKIError | None = None) -> PKIError:
    """One text whatever is wrong; the operator is told more."""
    return PKIError(
        ErrorCode.BAD_POSSESSION,
        "possession of the private key is not proven",
        hint=None if cause is None else cause.detail,
    )
