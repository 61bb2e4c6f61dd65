"""popdecc and popdecr: possession of a key proven by decrypting a challenge.

A request that chooses this way is kept, durably, with a digest of each number that was
hidden in its challenge; who returns the numbers has the request answered as any other.
Nothing is issued before, and no number is kept::

    client                      pkid
    ir, cr, kur          ->     the request and the witnesses are stored
                         <-     popdecc: each number encrypted to the key
    popdecr              ->     the numbers are held against the witnesses
                         <-     ip, cp, kup

What is stored has a key of its own, so that the transaction proper begins with the
answer to popdecr; one wrong answer spends the challenge.

**Source:** RFC 9810 section 5.2.8.3.3, appendix F; RFC 4210 section 5.2.8.3.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from pkid.asn1 import der
from pkid.asn1.cms.content import IssuerAndSerialNumber
from pkid.asn1.names import EMPTY, GeneralName, Name
from pkid.crypto.algorithms import hash_algorithm
from pkid.crypto.envelope import PublicKeyRecipient, encrypt
from pkid.crypto.keytransport import RSA_PKCS1, transport_key
from pkid.crypto.publickeys import PublicKeyInfo, decode_spki
from pkid.engine import possession
from pkid.engine.conflicts import look_again
from pkid.engine.model import (
    PossessionMethod,
    ProofOfPossession,
    ProvenPossession,
    TransactionKey,
    TransactionRecord,
    TransactionStatus,
)
from pkid.engine.ports import Clock
from pkid.engine.transactions import REPLAY_WINDOW
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.challenge import (
    Challenge,
    POPODecKeyChallContent,
    POPODecKeyRespContent,
    Rand,
)
from pkid.messages.cmp.header import CMP2021
from pkid.messages.cmp.message import PKIMessage, decode_body
from pkid.messages.crmf import CertReqMsg, POPOPrivKey, SubsequentMessage
from pkid.responders.cmp.answers import Answers, Draft
from pkid.responders.cmp.certification import opening_state, refusal
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.headers import NO_WISHES
from pkid.responders.cmp.requests import Answered, RandomOctets, Request
from pkid.responders.cmp.transactions import KeptAnswer, TransactionState
from pkid.responders.cmp.withholding import transport_algorithm

#: Keeps the rows of challenges apart from those of transactions.
CHALLENGE: Final = "cmp-challenge"
#: Proofs by the certReqId of their request.
Proofs = Mapping[int, ProofOfPossession]
#: Answers the request that was kept, its possession proven.
Resume = Callable[[Request, Proofs], Awaitable[Answered]]

_VERSION: Final = der.integer(1)
_OWF: Final = "sha256"
_NUMBER_OCTETS: Final = 16
# PKCS #1 v1.5 padding takes eleven octets of the modulus.
_PADDING_OCTETS: Final = 11


@dataclass(frozen=True, slots=True)
class Witness:
    """What a challenge was about.

    :ivar key: SHA-256 of the SubjectPublicKeyInfo.
    :ivar digest: of the number, which is nowhere kept.
    """

    cert_req_id: int
    key: bytes
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenChallenge:
    """A request whose challenge was sent.

    :ivar opening: the message that asked, whole.
    :ivar due: until when popdecr may come.
    :ivar spent: whether a wrong answer came.
    :ivar state: nonces and answers, as of every transaction.
    """

    opening: bytes
    due: datetime
    witnesses: tuple[Witness, ...]
    state: TransactionState
    spent: bool = False

    def encode(self) -> bytes:
        """The blob."""
        return der.sequence(
            _VERSION,
            der.octet_string(self.opening),
            der.generalized_time(self.due),
            der.sequence(*map(_encode_witness, self.witnesses)),
            der.octet_string(self.state.encode()),
            der.boolean(value=self.spent),
        )

    @classmethod
    def decode(cls, blob: bytes) -> OpenChallenge:
        """Read a blob.

        :raises PKIError: ``INTERNAL`` when it is none of ours.
        """
        try:
            return _decode(blob)
        except PKIError as error:
            raise PKIError(
                ErrorCode.INTERNAL, "the challenge's state cannot be read"
            ) from error


def _encode_witness(witness: Witness) -> bytes:
    return der.sequence(
        der.integer(witness.cert_req_id),
        der.octet_string(witness.key),
        der.octet_string(witness.digest),
    )


def _decode(blob: bytes) -> OpenChallenge:
    cursor = der.Cursor(der.single(blob, der.SEQUENCE))
    cursor.take(der.INTEGER)
    opening = cursor.take(der.OCTET_STRING)
    due = der.decode_generalized_time(cursor.take(der.GENERALIZED_TIME))
    listed = cursor.enter(der.SEQUENCE)
    witnesses: list[Witness] = []
    while listed:
        one = listed.enter(der.SEQUENCE)
        number = der.decode_integer(one.take(der.INTEGER))
        key = one.take(der.OCTET_STRING)
        witnesses.append(Witness(number, key, one.take(der.OCTET_STRING)))
    state = TransactionState.decode(cursor.take(der.OCTET_STRING))
    spent = der.decode_boolean(cursor.take(der.BOOLEAN))
    cursor.finish()
    return OpenChallenge(
        opening=opening,
        due=due,
        witnesses=tuple(witnesses),
        state=state,
        spent=spent,
    )


def asks_for_challenge(message: CertReqMsg) -> bool:
    """Whether a request would prove possession by a challenge."""
    popo = message.popo
    return (
        isinstance(popo, POPOPrivKey)
        and popo.subsequent_message is SubsequentMessage.CHALLENGE_RESP
    )


class Challenges:
    """Sends challenges and takes what comes back."""

    def __init__(
        self, engine: Engine, answers: Answers, clock: Clock, random: RandomOctets
    ) -> None:
        self._engine = engine
        self._answers = answers
        self._clock = clock
        self._random = random

    # --- popdecc -----------------------------------------------------------------

    async def open(self, request: Request, messages: Sequence[CertReqMsg]) -> Answered:
        """Answer ir, cr or kur with a challenge for each key that asks for one.

        :param messages: those that do.
        :raises PKIError: ``BAD_POSSESSION`` for keys that cannot decrypt or where
            challenges are not taken, ``BAD_TEMPLATE`` for a broken key,
            ``TRANSACTION_IN_USE``.
        """
        return await look_again(lambda: self._open(request, messages))

    async def _open(self, request: Request, messages: Sequence[CertReqMsg]) -> Answered:
        key = challenge_key(request.key)
        record = await self._engine.find_transaction(key)
        if record is not None:
            return _repeated(request, record)
        if await self._engine.find_transaction(request.key) is not None:
            raise _in_use()
        possession.check_taken(PossessionMethod.CHALLENGE, request.alias.alias)
        made = [self._challenge(request, message) for message in messages]
        content = POPODecKeyChallContent(tuple(challenge for challenge, _ in made))
        sealed = await self._answers.answer(
            request, Draft(body_type=BodyType.POPDECC, body=content)
        )
        now = self._clock.now().replace(microsecond=0)
        ids = [message.cert_req.cert_req_id for message in messages]
        state = replace(
            opening_state(request, ids[0], NO_WISHES),
            our_nonce=sealed.nonce,
            answers=(KeptAnswer(request.request_hash, sealed.octets),),
        )
        kept = OpenChallenge(
            opening=request.message.der,
            due=now + request.alias.confirm_wait,
            witnesses=tuple(witness for _, witness in made),
            state=state,
        )
        await self._engine.begin(
            TransactionRecord(
                key=key,
                request_hash=request.request_hash,
                status=TransactionStatus.DONE,
                created=now,
                due=now + request.alias.confirm_wait + REPLAY_WINDOW,
                state=kept.encode(),
            )
        )
        return Answered(octets=sealed.octets)

    def _challenge(
        self, request: Request, message: CertReqMsg
    ) -> tuple[Challenge, Witness]:
        """A challenge for the key of one request."""
        spki = message.cert_req.cert_template.spki
        if spki is None:
            raise PKIError(ErrorCode.BAD_TEMPLATE, "publicKey is missing")
        key = decode_spki(spki)
        possession.check_can_decrypt(key)
        number = int.from_bytes(self._random(_NUMBER_OCTETS), "big")
        digest = witness_of(number)
        witness = Witness(message.cert_req.cert_req_id, key.fingerprint, digest)
        authority = request.alias.alias.authority
        sender = self._engine.message_identity(authority).subject
        owf = hash_algorithm(_OWF)
        if request.header.pvno < CMP2021:
            octets = _old_challenge(key, number, sender)
            return Challenge(owf, digest, octets), witness
        rand = Rand(number, GeneralName.directory(sender)).encode()
        enveloped = self._enveloped(request, witness.cert_req_id, key, rand)
        return Challenge(owf, digest, b"", enveloped), witness

    def _enveloped(
        self, request: Request, number: int, key: PublicKeyInfo, rand: bytes
    ) -> bytes:
        loaded = key.load()
        recipient = PublicKeyRecipient(
            # Of a certificate that is not there yet.
            rid=IssuerAndSerialNumber(EMPTY.der, number),
            public_key=loaded,
            algorithm=transport_algorithm(request.alias, loaded),
        )
        return encrypt(rand, (recipient,), self._random).encode()

    # --- popdecr -----------------------------------------------------------------

    async def answer(self, request: Request, resume: Resume) -> Answered:
        """Answer popdecr: with ip, cp or kup once the numbers are right.

        :param resume: answers the request that was kept.
        :raises PKIError: for refusals that are answered by an error message.
        """
        return await look_again(lambda: self._answer(request, resume))

    async def _answer(self, request: Request, resume: Resume) -> Answered:
        record = await self._find(request)
        opened = OpenChallenge.decode(record.state)
        octets = opened.state.repeated(request.request_hash)
        if octets is not None:
            return Answered(octets=octets, repeated=True)
        if await self._engine.find_transaction(request.key) is None:
            opened.state.check_nonces(request.sender_nonce, request.header.recip_nonce)
            _check_open(opened, self._clock.now())
        body = decode_body(request.message)
        if not isinstance(body, POPODecKeyRespContent):
            raise PKIError(ErrorCode.INTERNAL, "not a popdecr")
        asked = replace(request, message=PKIMessage.decode(opened.opening))
        if not _is_right(opened, body):
            return await self._refuse(asked, record, opened)
        return await resume(asked, _proofs(opened))

    async def _find(self, request: Request) -> TransactionRecord:
        """The sender's own challenge.

        :raises PKIError: ``WRONG_AUTHORITY`` when it is another's; ``BAD_REQUEST``.
        """
        if request.header.transaction_id is None:
            raise PKIError(ErrorCode.BAD_REQUEST, "transactionID is missing")
        key = challenge_key(request.key)
        record = await self._engine.find_transaction(key)
        if record is not None:
            return record
        if await self._engine.find_transactions_by_id(
            CHALLENGE, key.alias, key.transaction_id
        ):
            raise PKIError(
                ErrorCode.WRONG_AUTHORITY,
                "the transaction was opened with another credential",
            )
        raise PKIError(
            ErrorCode.BAD_REQUEST, "no challenge was sent under this transactionID"
        )

    async def _refuse(
        self, asked: Request, record: TransactionRecord, opened: OpenChallenge
    ) -> Answered:
        """A wrong answer: the challenge is spent, and that is kept."""
        error = PKIError(
            ErrorCode.BAD_POSSESSION, "the challenge was not answered as it must be"
        )
        ids = tuple(witness.cert_req_id for witness in opened.witnesses)
        sealed = await self._answers.answer(
            asked, refusal(opened.state.body_type, ids, error)
        )
        state = opened.state.after(
            asked.request_hash, asked.sender_nonce, sealed.octets, sealed.nonce
        )
        await self._engine.remember(
            record, replace(opened, state=state, spent=True).encode()
        )
        return Answered.refused(sealed.octets, error)


def challenge_key(key: TransactionKey) -> TransactionKey:
    """Under which a challenge of a transaction is kept."""
    return replace(key, protocol=CHALLENGE)


def witness_of(number: int) -> bytes:
    """The witness of a number: SHA-256 over the contents octets of the INTEGER.

    The standard does not say which octets; these are what the library of Mozilla, the
    one known to write challenges, takes.
    """
    contents = der.single(der.integer(number), der.INTEGER)
    return hashlib.sha256(contents).digest()


def _old_challenge(key: PublicKeyInfo, number: int, sender: Name) -> bytes:
    """``Rand`` encrypted with the key itself, as version 2 wants it.

    A sender's name that is too long for the modulus is cut down to its last part.

    :raises PKIError: ``BAD_POSSESSION`` for keys that cannot do that.
    """
    loaded = key.load()
    if not isinstance(loaded, rsa.RSAPublicKey):
        raise PKIError(
            ErrorCode.BAD_POSSESSION,
            f"challenges for {key.family} keys need version 3 (pvno 3)",
        )
    room = loaded.key_size // 8 - _PADDING_OCTETS
    rand = Rand(number, GeneralName.directory(sender)).encode()
    if len(rand) > room:
        last = Name.of([*sender.rdns[-1:]])
        rand = Rand(number, GeneralName.directory(last)).encode()
    return transport_key(loaded, RSA_PKCS1, rand)


def _is_right(opened: OpenChallenge, body: POPODecKeyRespContent) -> bool:
    if len(body.integers) != len(opened.witnesses):
        return False
    return all(
        hmac.compare_digest(witness.digest, witness_of(number))
        for witness, number in zip(opened.witnesses, body.integers, strict=True)
    )


def _proofs(opened: OpenChallenge) -> dict[int, ProofOfPossession]:
    return {
        witness.cert_req_id: ProvenPossession(PossessionMethod.CHALLENGE, witness.key)
        for witness in opened.witnesses
    }


def _check_open(opened: OpenChallenge, now: datetime) -> None:
    if opened.spent:
        raise PKIError(ErrorCode.BAD_REQUEST, "the transaction is over")
    if opened.due < now:
        raise PKIError(
            ErrorCode.BAD_REQUEST, "the time to answer the challenge has passed"
        )


def _repeated(request: Request, record: TransactionRecord) -> Answered:
    """The challenge that these octets got before.

    :raises PKIError: ``TRANSACTION_IN_USE`` when the id belongs to another request.
    """
    octets = OpenChallenge.decode(record.state).state.repeated(request.request_hash)
    if octets is None:
        raise _in_use()
    return Answered(octets=octets, repeated=True)


def _in_use() -> PKIError:
    return PKIError(
        ErrorCode.TRANSACTION_IN_USE, "another request has used this transaction id"
    )
