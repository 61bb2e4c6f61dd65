"""The archive of private keys, and the way back out of it.

Keys rest encrypted to the archive key of their authority, an ML-KEM key whose private
half the key store keeps; to put a key in takes the public half only. What is archived
goes in with its certificate, in one commit. A key leaves to its own end entity alone:
at once where the entrance says ``self``, and where it says ``approved`` once after an
operator has allowed it for that entity.

**Source:** RFC 4211 section 6.4; RFC 9810 sections 5.3.7 and 5.3.8; RFC 5083; ENG-27.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from pkid.asn1 import der
from pkid.asn1.cms.content import SubjectKeyIdentifier
from pkid.asn1.cms.enveloped import AuthEnvelopedData
from pkid.asn1.cms.recipients import KEMRecipientInfo
from pkid.crypto.decryption import (
    decrypt_authenticated_content,
    unwrap_encapsulated,
)
from pkid.crypto.envelope import PublicKeyRecipient, encrypt_authenticated
from pkid.crypto.publickeys import PublicKeyInfo, decode_spki
from pkid.engine import audit
from pkid.engine.aliases import Alias, KeyRecovery
from pkid.engine.model import (
    EndEntity,
    EntityStatus,
    RequestContext,
    Requester,
    TransactionRecord,
)
from pkid.engine.ports import Clock, Decapsulation, KeyStore, Store
from pkid.engine.records import ArchivedKey, KeyHandleRecord
from pkid.engine.writes import InsertKeyHandle, InsertTransaction, UpdateEntity, Write
from pkid.errors import ErrorCode, PKIError

#: Long-lived secrets: the key that guards them withstands a quantum computer.
KEY_SPEC: Final = "ml-kem-1024"
_PURPOSE: Final = "decapsulation"
#: What one answer holds.
MAX_RECOVERED: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryRequest:
    """An end entity asks for its archived keys.

    :ivar alias: the entrance.
    """

    alias: Alias
    requester: Requester
    context: RequestContext


@dataclass(frozen=True, slots=True)
class RecoveredKey:
    """An archived key, opened, and its certificate.

    :ivar private_key: PKCS #8, not encrypted; lives for one exchange.
    """

    certificate: bytes
    private_key: bytes = field(repr=False)


#: Gives the transaction's row, answer included, which is stored before any key leaves.
RecordMaker = Callable[[tuple[RecoveredKey, ...]], Awaitable[TransactionRecord]]


@dataclass(frozen=True, slots=True)
class _ArchiveKey:
    public_key: PublicKeyInfo
    handle: Decapsulation


class KeyArchive:
    """Seals keys, and opens them for their owners."""

    def __init__(
        self,
        *,
        store: Store,
        keys: KeyStore,
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._keys = keys
        self._clock = clock
        self._random = random
        self._archives: dict[str, _ArchiveKey] = {}

    async def prepare(self, authority: str) -> None:
        """Give an authority its archive key, or open the one that it has."""
        name = _key_name(authority)
        spki = await self._keys.generate(name, KEY_SPEC, _PURPOSE)
        if await self._store.find_key_handle(name) is None:
            record = KeyHandleRecord(
                name=name,
                purpose=_PURPOSE,
                spec=KEY_SPEC,
                public_key=spki,
                created=self._clock.now(),
            )
            await self._store.commit(InsertKeyHandle(record))
        self._archives[authority] = _ArchiveKey(
            decode_spki(spki), await self._keys.decapsulation(name)
        )

    # --- in ----------------------------------------------------------------------

    def seal(self, authority: str, public_key: bytes, private_key: bytes) -> bytes:
        """A private key for the archive; nobody reads it without the archive key.

        :param public_key: SubjectPublicKeyInfo; bound to it.
        :param private_key: PKCS #8, not encrypted.
        :raises PKIError: ``UNAVAILABLE`` before `prepare`.
        """
        archive = self._archive(authority)
        recipient = PublicKeyRecipient(
            rid=SubjectKeyIdentifier(archive.public_key.key_id),
            public_key=archive.public_key.load(),
        )
        fingerprint = decode_spki(public_key).fingerprint
        content = der.sequence(
            der.octet_string(fingerprint), der.octet_string(private_key)
        )
        enveloped = encrypt_authenticated(content, (recipient,), self._random)
        return der.sequence(der.utf8_string(authority), enveloped.encode())

    # --- out ---------------------------------------------------------------------

    async def allow(self, name: str, actor: str, context: RequestContext) -> EndEntity:
        """An operator lets an end entity recover its keys, once.

        :raises PKIError: ``NOT_FOUND`` for an unknown entity or one without archived
            keys; ``CONFLICT``.
        """
        entity = await self._store.find_entity(name)
        if entity is None or not await self._store.archived_keys(name, 1):
            raise PKIError(
                ErrorCode.NOT_FOUND, f"no end entity {name} has archived keys"
            )
        allowed = replace(entity, status=EntityStatus.KEYRECOVERY)
        facts = audit.Facts(entity=name)
        await self._store.commit(
            UpdateEntity(allowed),
            audit.of_action(
                self._clock.now(), "key-recovery-allowed", actor, context, facts
            ),
        )
        return allowed

    async def recover(
        self, request: RecoveryRequest, make_record: RecordMaker
    ) -> tuple[RecoveredKey, ...]:
        """Open the archived keys of the requester's own entity.

        The answer is stored, and the recovery audited, before any key leaves.

        :raises PKIError: ``BAD_REQUEST`` where keys are not recovered;
            ``NOT_AUTHORIZED`` for who is no end entity or lacks an operator's word;
            ``NOT_FOUND`` when nothing is archived; ``WriteConflict``.
        """
        entity = await self._entity(request)
        archived = await self._store.archived_keys(entity.name, MAX_RECOVERED)
        if not archived:
            raise PKIError(ErrorCode.NOT_FOUND, "no key of this entity is archived")
        keys = [await self._opened(record) for record in archived]
        row = await make_record(tuple(keys))
        writes: list[Write] = [InsertTransaction(row)]
        if request.alias.key_recovery is KeyRecovery.APPROVED:
            writes.append(UpdateEntity(replace(entity, status=EntityStatus.GENERATED)))
        now = self._clock.now()
        writes += [_recovered(record, request, row, now) for record in archived]
        await self._store.commit(*writes)
        return tuple(keys)

    async def _entity(self, request: RecoveryRequest) -> EndEntity:
        """The requester's own entity, if it may have its keys back."""
        rule = request.alias.key_recovery
        if rule is KeyRecovery.OFF:
            raise PKIError(
                ErrorCode.BAD_REQUEST,
                "keys are not recovered here",
                hint=f"key_recovery of alias {request.alias.name}",
            )
        name = request.requester.entity
        entity = None if name is None else await self._store.find_entity(name)
        if entity is None:
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED, "only an end entity recovers its own keys"
            )
        approved = entity.status is EntityStatus.KEYRECOVERY
        if rule is KeyRecovery.APPROVED and not approved:
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED,
                "an operator has to allow the recovery first",
                hint=f"pkid entity recover {entity.name}",
            )
        return entity

    async def _opened(self, record: ArchivedKey) -> RecoveredKey:
        return RecoveredKey(
            await self._store.get_certificate_der(record.certificate),
            await self.open(record),
        )

    async def open(self, record: ArchivedKey) -> bytes:
        """The private key of a record, PKCS #8.

        :raises PKIError: ``UNAVAILABLE`` when the archive key is not there;
            ``INTERNAL`` when the record was changed or is another key's.
        """
        try:
            return await self._open(record)
        except PKIError as error:
            if error.code is ErrorCode.UNAVAILABLE:
                raise
            raise PKIError(
                ErrorCode.INTERNAL, "an archived key cannot be opened"
            ) from error

    async def _open(self, record: ArchivedKey) -> bytes:
        cursor = der.Cursor(der.single(record.sealed, der.SEQUENCE))
        authority = der.decode_utf8(cursor.take(der.UTF8_STRING))
        enveloped = AuthEnvelopedData.decode(cursor.raw(der.SEQUENCE))
        (info,) = enveloped.recipient_infos
        if not isinstance(info, KEMRecipientInfo):
            der.malformed("an archived key of another kind")
        handle = self._archive(authority).handle
        secret = await handle.decapsulate(info.kem, info.kemct)
        content = decrypt_authenticated_content(
            enveloped, unwrap_encapsulated(info, secret)
        )
        inner = der.Cursor(der.single(content, der.SEQUENCE))
        if inner.take(der.OCTET_STRING) != record.key:
            der.malformed("another key than the record says")
        return inner.take(der.OCTET_STRING)

    def _archive(self, authority: str) -> _ArchiveKey:
        found = self._archives.get(authority)
        if found is None:
            raise PKIError(
                ErrorCode.UNAVAILABLE,
                "the key archive is not available",
                hint=f"no alias of authority {authority} has key_archive or"
                " key_recovery",
            )
        return found


def _key_name(authority: str) -> str:
    return f"archive-{authority}"


def _recovered(
    record: ArchivedKey,
    request: RecoveryRequest,
    row: TransactionRecord,
    now: datetime,
) -> Write:
    """One audit record for each key that leaves."""
    return audit.of_action(
        now,
        "recover-key",
        request.requester.identity,
        request.context,
        audit.Facts(
            alias=request.alias.name,
            certificate=str(record.certificate),
            entity=record.entity,
            transaction=row.key,
            rule=f"key_recovery {request.alias.key_recovery.value}",
        ),
    )
