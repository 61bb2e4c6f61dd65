"""DHBasedMac and KemBasedMac: a certificate proves itself without signing.

**Source:** RFC 9810 sections 5.1.3.2 and 5.1.3.4.
"""

from __future__ import annotations

from pkid.asn1 import oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.agreedmac import DHBMParameters, KemBMParameters
from pkid.crypto.certificates import Certificate, allows_key_agreement
from pkid.crypto.keyedmac import SymmetricKey
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.message import PKIMessage
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.kemsecrets import KEMSecrets
from pkid.responders.cmp.requests import SIGNED, AgreedProtection, Protection


class AgreedMACs:
    """Verifies MACs whose keys two sides agreed upon."""

    def __init__(self, engine: Engine, kem: KEMSecrets) -> None:
        self._engine = engine
        self._kem = kem

    async def check(
        self,
        alias: CMPAlias,
        message: PKIMessage,
        parameters: DHBMParameters | KemBMParameters,
        signer: Certificate,
    ) -> Protection:
        """Check the MAC, and say how the answer is protected.

        :param parameters: from `agreed_parameters`.
        :param signer: the certificate of the sender's key.
        :raises PKIError: ``BAD_MESSAGE_CHECK``, ``BAD_ALGORITHM``, ``UNAVAILABLE``.
        """
        if isinstance(parameters, KemBMParameters):
            return await self._check_kem(alias, message, parameters, signer)
        return await self._check_dh(alias, message, parameters, signer)

    async def _check_dh(
        self,
        alias: CMPAlias,
        message: PKIMessage,
        parameters: DHBMParameters,
        signer: Certificate,
    ) -> Protection:
        identity = self._engine.find_agreement_identity(alias.alias.authority)
        if identity is None:
            raise PKIError(ErrorCode.UNAVAILABLE, "no key of ours agrees upon others")
        if not allows_key_agreement(signer):
            raise PKIError(
                ErrorCode.BAD_MESSAGE_CHECK,
                "the protection certificate's keyUsage lacks keyAgreement",
            )
        secret = await identity.key.agree(signer.spki)
        key = SymmetricKey(parameters.mac, parameters.derive(secret))
        key.verify(message.protected_part, message.protection or b"")
        if alias.response_protection == "signature":
            return SIGNED
        return AgreedProtection(
            key=key,
            parameters=parameters,
            certificate=identity.certificate,
            chain=identity.chain,
        )

    async def _check_kem(
        self,
        alias: CMPAlias,
        message: PKIMessage,
        parameters: KemBMParameters,
        signer: Certificate,
    ) -> Protection:
        secret = await self._kem.client_secret(alias, signer, message)
        transaction_id = message.header.transaction_id or b""
        key = SymmetricKey(parameters.mac, parameters.derive(secret, transaction_id))
        key.verify(message.protected_part, message.protection or b"")
        return SIGNED


def agreed_parameters(
    alias: CMPAlias, algorithm: AlgorithmIdentifier
) -> DHBMParameters | KemBMParameters:
    """Parameters of a MAC that keys agree upon, where the alias takes such.

    :raises PKIError: ``BAD_ALGORITHM``, ``MALFORMED``.
    """
    if algorithm.oid == oids.ID_KEM_BASED_MAC:
        if not alias.kem:
            raise _not_taken("KemBasedMac", "kem", alias)
        return KemBMParameters.decode(algorithm)
    if not alias.agreement:
        raise _not_taken("DHBasedMac", "agreement", alias)
    return DHBMParameters.decode(algorithm)


def _not_taken(name: str, switch: str, alias: CMPAlias) -> PKIError:
    return PKIError(
        ErrorCode.BAD_ALGORITHM,
        f"{name} is not taken here",
        hint=f"{switch} = true in alias {alias.name}",
    )
