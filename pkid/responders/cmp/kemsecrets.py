"""MACs from KEM keys: secrets that an encapsulation gave, and where they are kept.

Two directions, each with its own secret::

    client with a KEM key                 pkid
    genm {KemCiphertextInfo}      ->      encapsulates to the client's certificate
                                  <-      genp {KemCiphertextInfo, ciphertext}
    request, KemBasedMac          ->      verified under that secret

    client                                pkid with a KEM key
    request {KemCiphertextInfo}   ->      decapsulates
                                  <-      answer, KemBasedMac, also to all that follow

A secret is kept, sealed, in a transaction of its own beside the one that it protects,
under the same transactionID: it counts for no other.

**Source:** RFC 9810 sections 5.1.1.5, 5.1.3.4, 5.3.19.18 and appendix E.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from pkid.asn1 import oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.agreedmac import KemBMParameters
from pkid.crypto.certificates import Certificate
from pkid.crypto.kem import HKDF_SHA256
from pkid.crypto.keyedmac import SymmetricKey
from pkid.engine.authorities import KEMIdentity
from pkid.engine.model import TransactionKey, TransactionRecord, TransactionStatus
from pkid.engine.ports import Clock
from pkid.engine.transactions import REPLAY_WINDOW
from pkid.engine.writes import WriteConflict
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.kem import KemCiphertextInfo
from pkid.messages.cmp.message import PKIMessage
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.requests import (
    PROTOCOL,
    AgreedProtection,
    NoProtection,
    Proven,
    RefusedUnderError,
)
from pkid.responders.cmp.strict import FOLLOWING
from pkid.responders.cmp.transactions import KeptAnswer, TransactionState

#: Anybody may ask for a ciphertext: one that nobody uses is soon forgotten.
UNUSED_PERIOD: Final = timedelta(minutes=10)
_HMAC_SHA256: Final = AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256)


@dataclass(frozen=True, slots=True)
class Kept:
    """A secret and the transaction that it is kept in."""

    record: TransactionRecord
    state: TransactionState
    secret: bytes


class KEMSecrets:
    """Keeps the secrets of encapsulations, and protects answers with our own."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    # --- of clients ----------------------------------------------------------------

    def client_key(
        self, alias: CMPAlias, certificate: Certificate, transaction_id: bytes
    ) -> TransactionKey:
        """Where the secret of a client's KEM certificate is kept."""
        holder = hashlib.sha256(certificate.der).hexdigest()
        return TransactionKey(PROTOCOL, alias.name, f"kem:{holder}", transaction_id)

    async def client_secret(
        self, alias: CMPAlias, certificate: Certificate, message: PKIMessage
    ) -> bytes:
        """The secret that we encapsulated to a client for this transaction.

        :raises PKIError: ``BAD_MESSAGE_CHECK`` when there is none.
        """
        transaction_id = message.header.transaction_id or b""
        kept = await self.find(self.client_key(alias, certificate, transaction_id))
        if kept is None:
            raise PKIError(
                ErrorCode.BAD_MESSAGE_CHECK,
                "no KEM ciphertext was asked for in this transaction",
            )
        await self._hold(kept)
        return kept.secret

    # --- our own -------------------------------------------------------------------

    async def answering(
        self, alias: CMPAlias, message: PKIMessage, proven: Proven, request_hash: bytes
    ) -> Proven:
        """How answers are protected where a KEM key of ours may do it.

        :raises PKIError: ``BAD_MESSAGE_CHECK`` and ``BAD_ALGORITHM`` for a ciphertext
            that is not for our key, ``BAD_REQUEST`` without transactionID,
            ``MALFORMED``; ``WRONG_INTEGRITY`` where one is missing.
        """
        if alias.response_protection == "signature":
            return proven
        identity = self._engine.find_kem_identity(alias.alias.authority)
        if identity is None:
            return proven
        secret = await self._own_secret(alias, message, proven, request_hash, identity)
        if secret is not None:
            transaction_id = message.header.transaction_id or b""
            return replace(proven, protection=_agreed(identity, secret, transaction_id))
        bootstrap = message.body_type is BodyType.GENM and message.protection is None
        if alias.response_protection == "kem" and not bootstrap:
            raise _kem_wanted(identity)
        return proven

    async def _own_secret(
        self,
        alias: CMPAlias,
        message: PKIMessage,
        proven: Proven,
        request_hash: bytes,
        identity: KEMIdentity,
    ) -> bytes | None:
        header = message.header
        info = header.find_info(oids.ID_IT_KEM_CIPHERTEXT_INFO)
        given = None if info is None else info.value
        transaction_id = header.transaction_id
        if given is None and message.body_type not in FOLLOWING:
            return None
        if transaction_id is None:
            raise PKIError(
                ErrorCode.BAD_REQUEST, "a KEM ciphertext needs a transactionID"
            )
        key = TransactionKey(
            PROTOCOL,
            alias.name,
            f"kem-answer:{proven.requester.identity}",
            transaction_id,
        )
        kept = await self.find(key)
        if given is None:
            return None if kept is None else kept.secret
        if kept is not None:
            _check_same_operation(kept, message, request_hash)
            return kept.secret
        ciphertext = KemCiphertextInfo.decode(given)
        secret = await identity.key.decapsulate(ciphertext.kem, ciphertext.ciphertext)
        await self.keep(key, message, secret, request_hash)
        return secret

    # --- the store -----------------------------------------------------------------

    async def find(self, key: TransactionKey) -> Kept | None:
        """The secret kept under a key."""
        record = await self._engine.find_transaction(key)
        if record is None:
            return None
        state = TransactionState.decode(record.state)
        return Kept(record, state, self._engine.sealing.open(state.shared, key))

    async def keep(
        self,
        key: TransactionKey,
        message: PKIMessage,
        secret: bytes,
        request_hash: bytes,
        answer: KeptAnswer | None = None,
        period: timedelta = REPLAY_WINDOW,
    ) -> None:
        """Keep a secret, durably, before anything is said under it.

        :param answer: what was answered, for the same octets again.
        :param period: how long it is kept unless it is used.
        """
        now = self._clock.now()
        state = TransactionState(
            body_type=BodyType.GENM,
            pvno=message.header.pvno,
            sender=message.header.sender,
            delivered=True,
            answers=() if answer is None else (answer,),
            shared=self._engine.sealing.seal(secret, key),
        )
        await self._engine.begin(
            TransactionRecord(
                key=key,
                request_hash=request_hash,
                status=TransactionStatus.DONE,
                created=now,
                due=now + period,
                state=state.encode(),
            )
        )

    async def _hold(self, kept: Kept) -> None:
        """Keep a secret that is in use: its transaction may wait for an approver."""
        now = self._clock.now()
        if kept.record.due - now >= REPLAY_WINDOW / 2:
            return
        with contextlib.suppress(WriteConflict):  # another message holds it already
            await self._engine.remember(
                kept.record, kept.record.state, now + REPLAY_WINDOW
            )


def _kem_wanted(identity: KEMIdentity) -> RefusedUnderError:
    """Shows our certificate, with nothing that protects (appendix E, third flow)."""
    error = PKIError(
        ErrorCode.WRONG_INTEGRITY,
        "answers are protected by a KEM key: send a ciphertext in generalInfo",
    )
    certificates = (identity.certificate, *identity.chain)
    return RefusedUnderError(error, NoProtection(certificates))


def _check_same_operation(kept: Kept, message: PKIMessage, request_hash: bytes) -> None:
    """One ciphertext serves one operation.

    :raises PKIError: ``TRANSACTION_IN_USE``.
    """
    if message.body_type in FOLLOWING or kept.record.request_hash == request_hash:
        return
    raise PKIError(
        ErrorCode.TRANSACTION_IN_USE, "another request has used this transaction id"
    )


def _agreed(
    identity: KEMIdentity, secret: bytes, transaction_id: bytes
) -> AgreedProtection:
    parameters = KemBMParameters.build(HKDF_SHA256, _HMAC_SHA256)
    key = SymmetricKey(parameters.mac, parameters.derive(secret, transaction_id))
    return AgreedProtection(
        key=key,
        parameters=parameters,
        certificate=identity.certificate,
        chain=identity.chain,
    )
