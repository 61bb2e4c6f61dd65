"""Who sent a message: its MAC or signature checked, before its body is looked at.

An unknown reference value, a wrong secret and a secret that may not be used any more
look alike on the wire and take the same time; the operator's hint tells them apart.

**Source:** RFC 9810 section 5.1.3; RFC 9483 sections 3.2, 3.3 and 3.5.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from twisted.logger import Logger

from pkid.asn1 import oids
from pkid.asn1.constructors import constructor
from pkid.asn1.names import DIRECTORY_NAME, GeneralName, Name
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.agreedmac import is_agreed_mac
from pkid.crypto.algorithms import signature_scheme
from pkid.crypto.certificates import (
    Certificate,
    allows_digital_signature,
    subject_key_identifier,
)
from pkid.crypto.keyedmac import SymmetricKey, decode_keyed_mac, is_keyed_mac
from pkid.crypto.mac import (
    MacKey,
    MacParameters,
    PBMParameters,
    decode_mac_parameters,
    derive_mac_key,
    derive_mac_key_in_slices,
    encode_mac_parameters,
    is_mac_algorithm,
    with_salt,
)
from pkid.engine.aliases import Authentication
from pkid.engine.credentials import AuthenticationFailure, SharedSecret
from pkid.engine.model import (
    CredentialKind,
    RequestContext,
    Requester,
    RequesterKind,
)
from pkid.engine.ports import CertificateQuery, Workers
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.header import PKIHeader
from pkid.messages.cmp.message import PKIMessage
from pkid.responders.cmp.agreedmacs import AgreedMACs, agreed_parameters
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.kemsecrets import KEMSecrets
from pkid.responders.cmp.references import reference_by_subject
from pkid.responders.cmp.requests import (
    SIGNED,
    MACProtection,
    Protection,
    Proven,
    RandomOctets,
    RefusedUnderError,
)
from pkid.responders.cmp.strict import Stage, enforce

#: The one text for every protection that does not verify (SEC-05).
NOT_PROTECTED: Final = "the message is not protected as it must be"
#: Derivations that cost more than about half a millisecond leave the reactor thread.
INLINE_ITERATIONS: Final = 2000
SALT_OCTETS: Final = 16
MAX_REFERENCE_OCTETS: Final = 128
MAX_STORED_SIGNERS: Final = 16

_NOBODY: Final = b"no secret has this reference value"
_BY_CERTIFICATE: Final = frozenset(
    (
        Authentication.CERTIFICATE,
        Authentication.VENDOR,
        Authentication.REGISTRATION_AUTHORITY,
    )
)


#: Whoever sends a message without protection; no entity has this empty name.
ANYBODY: Final = Requester(kind=RequesterKind.ANONYMOUS, identity="anonymous:")
_NEVER_BY_NOBODY: Final = frozenset(
    (BodyType.KUR, BodyType.RR, BodyType.CCR, BodyType.KRR, BodyType.NESTED)
)
_make_proven = constructor(Proven)


class ProtectionCheck:
    """Verifies the protection of requests.

    :param workers: takes key derivations that are too dear for the reactor thread.
    """

    log = Logger()

    def __init__(
        self,
        engine: Engine,
        workers: Workers,
        random: RandomOctets,
        kem: KEMSecrets,
    ) -> None:
        self._engine = engine
        self._agreed = AgreedMACs(engine, kem)
        self._workers = workers
        self._random = random

    async def verify(
        self, alias: CMPAlias, message: PKIMessage, context: RequestContext
    ) -> Proven:
        """Check the protection and say who sent the message.

        :raises PKIError: ``BAD_MESSAGE_CHECK`` when it is missing or wrong,
            ``BAD_ALGORITHM``, ``WRONG_INTEGRITY`` when this kind is not accepted here,
            ``SIGNER_NOT_TRUSTED``, ``CERTIFICATE_REVOKED``, ``NOT_AUTHORIZED``,
            ``MISSING_INFORMATION``.
        """
        algorithm = message.header.protection_alg
        if algorithm is None and message.protection is None:
            return _nobody(alias, message)
        if algorithm is None or message.protection is None:
            raise unprotected(algorithm, message.protection)
        if is_mac_algorithm(algorithm) or is_keyed_mac(algorithm):
            return await self._verify_mac(alias, message, algorithm, context)
        if is_agreed_mac(algorithm):
            return await self._verify_agreed(alias, message, algorithm, context)
        return await self._verify_signature(alias, message, algorithm, context)

    async def revive(
        self, alias: CMPAlias, algorithm: AlgorithmIdentifier, kid: bytes | None
    ) -> MACProtection | None:
        """MAC protection for an answer that no request at hand protects.

        :param algorithm: ``protectionAlg`` of the message that opened the transaction.
        :returns: None when the secret is gone meanwhile.
        """
        shared = await self._find_secret(alias, _reference_text(kid))
        if shared is None:
            return None
        key: MacKey | SymmetricKey = SymmetricKey(algorithm, shared.secret)
        if not is_keyed_mac(algorithm):
            parameters = decode_mac_parameters(algorithm)
            key = await self._derive(parameters, shared.secret)
        return MACProtection(key=key, algorithm=algorithm, sender_kid=kid)

    # --- shared secrets ----------------------------------------------------------

    async def _verify_mac(
        self,
        alias: CMPAlias,
        message: PKIMessage,
        algorithm: AlgorithmIdentifier,
        context: RequestContext,
    ) -> Proven:
        if Authentication.MAC not in alias.alias.authenticate:
            raise PKIError(
                ErrorCode.WRONG_INTEGRITY,
                "MAC protection is not accepted here",
                hint=f'add "mac" to authenticate of alias {alias.name}',
            )
        parameters = None
        if is_keyed_mac(algorithm):
            decode_keyed_mac(algorithm)
        else:
            parameters = _affordable(alias, algorithm)
        reference = await self._reference(alias, message)
        shared = await self._find_secret(alias, reference)
        if message.body_type is BodyType.RR:
            # A passphrase revokes and does nothing else; both are always looked up.
            shared = await self._find_passphrase(alias, reference) or shared
        secret = _NOBODY if shared is None else shared.secret
        key: MacKey | SymmetricKey = SymmetricKey(algorithm, secret)
        if parameters is not None:
            key = await self._derive(parameters, secret)
        wrong = _wrong(key, message)
        if shared is None or wrong:
            raise await self._failed(alias, context, message.header, reference, shared)
        protection = await self._answering(alias, key, algorithm, message, secret)
        try:
            enforce(alias, Stage.SENDER, message)
        except PKIError as error:
            raise RefusedUnderError(error, protection) from error
        return _make_proven(
            requester=shared.requester,
            protection=protection,
            secret=secret,
            usable=shared.usable,
            hint=shared.hint,
        )

    async def _reference(self, alias: CMPAlias, message: PKIMessage) -> str | None:
        """Which secret is meant: senderKID says so, or else the subject."""
        if alias.reference_by_subject:
            found = await reference_by_subject(self._engine, alias, message)
            if found is not None:
                return found
        return _reference_of(message.header)

    async def _find_secret(
        self, alias: CMPAlias, reference: str | None
    ) -> SharedSecret | None:
        # A reference that cannot exist is looked up all the same: equal time.
        return await self._engine.find_secret(
            CredentialKind.CMP_SECRET, reference or "", alias.alias.name
        )

    async def _find_passphrase(
        self, alias: CMPAlias, reference: str | None
    ) -> SharedSecret | None:
        return await self._engine.find_secret(
            CredentialKind.REVOCATION, reference or "", alias.alias.name
        )

    async def _answering(
        self,
        alias: CMPAlias,
        key: MacKey | SymmetricKey,
        algorithm: AlgorithmIdentifier,
        message: PKIMessage,
        secret: bytes,
    ) -> Protection:
        """How answers to this sender are protected."""
        if alias.response_protection == "signature":
            return SIGNED
        if alias.fresh_salt and isinstance(key, MacKey):
            parameters = with_salt(key.parameters, self._random(SALT_OCTETS))
            key = await self._derive(parameters, secret)
            algorithm = encode_mac_parameters(parameters)
        return MACProtection(
            key=key, algorithm=algorithm, sender_kid=message.header.sender_kid
        )

    async def _derive(self, parameters: MacParameters, secret: bytes) -> MacKey:
        if parameters.iterations <= INLINE_ITERATIONS:
            return derive_mac_key(parameters, secret)
        if isinstance(parameters, PBMParameters):
            return await self._workers.pace(
                derive_mac_key_in_slices(parameters, secret)
            )
        return await self._workers.run(derive_mac_key, parameters, secret)

    async def _failed(
        self,
        alias: CMPAlias,
        context: RequestContext,
        header: PKIHeader,
        reference: str | None,
        shared: SharedSecret | None,
    ) -> PKIError:
        """Report a MAC that does not verify; gives what to raise."""
        name = printable(reference or "")
        hint = f"no CMP secret has reference {name!r}: pkid secret list"
        if shared is not None:
            hint = f"wrong secret for reference {name!r}"
        error = PKIError(ErrorCode.BAD_MESSAGE_CHECK, NOT_PROTECTED, hint=hint)
        await self.report(alias, context, header, error, name, shared)
        return error

    async def report(
        self,
        alias: CMPAlias,
        context: RequestContext,
        header: PKIHeader,
        error: PKIError,
        actor: str,
        shared: SharedSecret | None = None,
    ) -> None:
        """Tell the engine of a requester that could not prove who it is.

        The refusal stands, and looks the same, also when it cannot be written down.
        """
        failure = AuthenticationFailure(
            error=error,
            context=context,
            alias=alias.alias.name,
            actor=actor,
            transaction_id=header.transaction_id or b"",
            credential=None if shared is None else shared.credential,
        )
        try:
            await self._engine.report_failure(failure)
        except PKIError:
            self.log.failure("cmp {alias}: a failure was not counted", alias=alias.name)

    # --- signatures --------------------------------------------------------------

    async def _verify_signature(
        self,
        alias: CMPAlias,
        message: PKIMessage,
        algorithm: AlgorithmIdentifier,
        context: RequestContext,
    ) -> Proven:
        _check_takes_certificates(alias)
        null_parameters = "null-parameters" in alias.quirks
        signature_scheme(algorithm, allow_null_parameters=null_parameters)
        try:
            signer = await self._find_signer(message)
            enforce(alias, Stage.SENDER, message, signer=signer)
            _verify_by(signer, message, algorithm, alias)
            requester = await self._engine.identify(
                alias.alias, signer.der, _others(message, signer)
            )
        except PKIError as error:
            actor = printable(_sender_text(message.header.sender))
            await self.report(alias, context, message.header, error, actor)
            raise
        return Proven(requester=requester, protection=SIGNED)

    # --- keys that both sides agree upon -----------------------------------------

    async def _verify_agreed(
        self,
        alias: CMPAlias,
        message: PKIMessage,
        algorithm: AlgorithmIdentifier,
        context: RequestContext,
    ) -> Proven:
        """DHBasedMac and KemBasedMac: a certificate proves itself without signing.

        **Source:** RFC 9810 sections 5.1.3.2 and 5.1.3.4.
        """
        _check_takes_certificates(alias)
        parameters = agreed_parameters(alias, algorithm)
        try:
            signer = await self._find_signer(message)
            enforce(alias, Stage.SENDER, message, signer=signer)
            protection = await self._agreed.check(alias, message, parameters, signer)
            requester = await self._engine.identify(
                alias.alias, signer.der, _others(message, signer)
            )
        except PKIError as error:
            actor = printable(_sender_text(message.header.sender))
            await self.report(alias, context, message.header, error, actor)
            raise
        return Proven(requester=requester, protection=protection)

    # --- certificates ------------------------------------------------------------

    async def _find_signer(self, message: PKIMessage) -> Certificate:
        """The protection certificate: the sender's in extraCerts, or in our store.

        First position is not demanded (3GPP equipment orders as it likes). One
        certificate is chosen, by name and key identifier; one signature is checked.

        :raises PKIError: ``MISSING_INFORMATION``, ``BAD_MESSAGE_CHECK``.
        """
        sender = _directory_name(message.header.sender)
        kid = message.header.sender_kid
        candidates = [
            certificate
            for certificate in map(_readable, message.extra_certs)
            if certificate is not None and certificate.subject.matches(sender)
        ]
        for certificate in candidates:
            if kid is None or subject_key_identifier(certificate) == kid:
                return certificate
        if candidates:
            return candidates[0]
        stored = await self._stored_signer(sender, kid)
        if stored is not None:
            return stored
        if message.extra_certs:
            raise PKIError(
                ErrorCode.BAD_MESSAGE_CHECK,
                "no certificate in extraCerts has the sender as its subject",
            )
        raise PKIError(
            ErrorCode.MISSING_INFORMATION,
            "the certificate that verifies the protection is missing in extraCerts",
        )

    async def _stored_signer(
        self, sender: Name, kid: bytes | None
    ) -> Certificate | None:
        if sender.is_empty or kid is None:
            return None
        query = CertificateQuery(subject_prefix=sender.text(), limit=MAX_STORED_SIGNERS)
        for record in await self._engine.search_certificates(query):
            if record.subject_key_id == kid:
                return read_certificate(
                    await self._engine.certificate_der(record.reference)
                )
        return None


@lru_cache(maxsize=512)
def read_certificate(octets: bytes) -> Certificate:
    """A certificate, read once: it comes again with every message of its holder.

    :raises PKIError: ``MALFORMED``.
    """
    return Certificate.decode(octets)


def printable(text: str) -> str:
    """Text from outside, fit for logs: short, control characters escaped."""
    return text[:MAX_REFERENCE_OCTETS].encode("unicode_escape").decode("ascii")


def _check_takes_certificates(alias: CMPAlias) -> None:
    if _BY_CERTIFICATE.isdisjoint(alias.alias.authenticate):
        raise PKIError(
            ErrorCode.WRONG_INTEGRITY,
            "signature protection is not accepted here",
            hint=f'add "certificate" to authenticate of alias {alias.name}',
        )


def _nobody(alias: CMPAlias, message: PKIMessage) -> Proven:
    """Who sent a message that nobody protected, where the alias takes such.

    A client with a KEM key has nothing to protect its first question with.

    :raises PKIError: ``BAD_MESSAGE_CHECK``.

    **Source:** RFC 9810 appendix E.
    """
    bootstrap = alias.kem and message.body_type is BodyType.GENM
    if not alias.takes_unprotected(message.body_type) and not bootstrap:
        raise unprotected()
    if message.body_type in _NEVER_BY_NOBODY:
        raise PKIError(
            ErrorCode.BAD_MESSAGE_CHECK, "this body is not taken without protection"
        )
    return _make_proven(requester=ANYBODY, protection=SIGNED)


def unprotected(
    algorithm: AlgorithmIdentifier | None = None, protection: bytes | None = None
) -> PKIError:
    """What a message gets whose protection is missing, or half of it."""
    if algorithm is not None:
        detail = "protectionAlg without protection"
    elif protection is not None:
        detail = "protection without protectionAlg"
    else:
        detail = "the message is not protected"
    return PKIError(ErrorCode.BAD_MESSAGE_CHECK, detail)


def _affordable(alias: CMPAlias, algorithm: AlgorithmIdentifier) -> MacParameters:
    """Parameters of a MAC that a password gives, within what the alias computes."""
    parameters = decode_mac_parameters(algorithm)
    if parameters.iterations > alias.maximum_iterations:
        raise PKIError(
            ErrorCode.BAD_ALGORITHM,
            f"at most {alias.maximum_iterations} iterations are accepted here",
        )
    return parameters


def _wrong(key: MacKey | SymmetricKey, message: PKIMessage) -> bool:
    try:
        key.verify(message.protected_part, message.protection or b"")
    except PKIError:
        return True
    return False


def _reference_of(header: PKIHeader) -> str | None:
    """The reference value: senderKID, else the sender's common name."""
    if header.sender_kid is not None:
        return _reference_text(header.sender_kid)
    if header.sender.tag != DIRECTORY_NAME:
        return None
    name = header.sender.directory_name
    names = () if name is None else name.values(oids.ID_AT_COMMON_NAME)
    return _reference_text(names[0].encode()) if len(names) == 1 else None


def _reference_text(kid: bytes | None) -> str | None:
    if kid is None or not 1 <= len(kid) <= MAX_REFERENCE_OCTETS:
        return None
    try:
        text = kid.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def _directory_name(sender: GeneralName) -> Name:
    name = sender.directory_name
    if name is None:
        raise PKIError(
            ErrorCode.BAD_MESSAGE_CHECK, "the sender is not a directory name"
        )
    return name


def _sender_text(sender: GeneralName) -> str:
    try:
        return sender.text()
    except PKIError:
        return ""


def _readable(octets: bytes) -> Certificate | None:
    """A certificate of extraCerts; what cannot be read is passed over."""
    try:
        return read_certificate(octets)
    except PKIError:
        return None


def _others(message: PKIMessage, signer: Certificate) -> tuple[bytes, ...]:
    """What else came along and can be read: for building the signer's chain."""
    return tuple(
        octets
        for octets in message.extra_certs
        if octets != signer.der and _readable(octets) is not None
    )


def _verify_by(
    signer: Certificate,
    message: PKIMessage,
    algorithm: AlgorithmIdentifier,
    alias: CMPAlias,
) -> None:
    """Check the signature, then whether this key may sign messages."""
    try:
        signer.public_key_info.verify(
            algorithm,
            message.protection or b"",
            message.protected_part,
            allow_sha1=alias.allow_sha1,
            allow_null_parameters="null-parameters" in alias.quirks,
        )
    except PKIError as error:
        if error.code is not ErrorCode.BAD_TEMPLATE:
            raise
        raise PKIError(
            ErrorCode.BAD_ALGORITHM, f"protection certificate: {error.detail}"
        ) from error
    if not allows_digital_signature(signer):
        raise PKIError(
            ErrorCode.BAD_MESSAGE_CHECK,
            "the protection certificate's keyUsage lacks digitalSignature",
        )
