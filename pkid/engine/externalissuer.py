"""CAs whose certificate comes from another PKI: a request goes out, a chain comes in.

The key is made here and never leaves. The same way gives such a CA a new certificate
for the key that it has.

**Source:** ENG-01.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pkid.asn1.names import Name
from pkid.crypto.certificates import (
    Certificate,
    allows_certificate_signing,
    basic_constraints,
)
from pkid.crypto.chains import validate_chain
from pkid.crypto.requests import certification_request_info
from pkid.crypto.signatures import encode_signed
from pkid.engine import audit
from pkid.engine.authorities import Authorities
from pkid.engine.model import RequestContext
from pkid.engine.ports import Clock, KeyStore, Store
from pkid.engine.records import AuthorityRecord, KeyHandleRecord
from pkid.engine.writes import InsertAuthority, InsertKeyHandle, UpdateAuthority, Write
from pkid.errors import ErrorCode, PKIError

PURPOSE = "certificate-signing"


class ExternalIssuer:
    """Makes CAs that another PKI certifies."""

    def __init__(
        self, *, store: Store, keys: KeyStore, authorities: Authorities, clock: Clock
    ) -> None:
        self._store = store
        self._keys = keys
        self._authorities = authorities
        self._clock = clock

    async def request(
        self,
        name: str,
        subject: Name,
        key_spec: str,
        actor: str,
        context: RequestContext,
    ) -> bytes:
        """A PKCS #10 request for a CA; its key is made when it is not there yet.

        :raises PKIError: ``BAD_ALGORITHM`` for a key that cannot be made,
            ``BAD_REQUEST`` for a name that no key may have.
        """
        key = key_of(name)
        spki = await self._keys.generate(key, key_spec, PURPOSE)
        self._authorities.add_key(spki)
        writes: list[Write] = []
        if await self._store.find_key_handle(key) is None:
            now = self._clock.now()
            handle = KeyHandleRecord(
                name=key, purpose=PURPOSE, spec=key_spec, public_key=spki, created=now
            )
            writes.append(InsertKeyHandle(handle))
        signer = await self._keys.message_signer(key, of_authority=True)
        info = certification_request_info(subject, spki)
        signature = await signer.sign_message(info)
        event = self._event("authority-requested", actor, context, name, subject)
        await self._store.commit(*writes, event)
        return encode_signed(info, signer.algorithm, signature)

    async def install(
        self,
        name: str,
        certificates: Sequence[bytes],
        actor: str,
        context: RequestContext,
    ) -> AuthorityRecord:
        """Put a CA to work with the certificate that another PKI gave it.

        :param certificates: its own and those above it, the root included; any order.
        :raises PKIError: ``NOT_FOUND`` when no request of that name went out;
            ``BAD_REQUEST`` when none of them is for its key or the chain does not
            hold; nothing is stored then.
        """
        key = key_of(name)
        handle = await self._store.find_key_handle(key)
        if handle is None:
            raise PKIError(
                ErrorCode.NOT_FOUND,
                f"there is no key for a CA of the name {name}",
                hint=f"pkid ca request {name}",
            )
        known = await self._store.find_authority(name)
        own, *above = self._checked(certificates, handle)
        if known is None:
            record = AuthorityRecord(
                name=name,
                certificate=own.der,
                chain=tuple(one.der for one in above),
                key=key,
                created=self._clock.now(),
            )
            write: Write = InsertAuthority(record)
        else:
            chain = tuple(one.der for one in above)
            record = replace(known, certificate=own.der, chain=chain)
            write = UpdateAuthority(record, known.phase)
        event = self._event("authority-installed", actor, context, name, own.subject)
        await self._store.commit(write, event)
        self._authorities.add(await self._authorities.open(record))
        return record

    def _checked(
        self, certificates: Sequence[bytes], handle: KeyHandleRecord
    ) -> tuple[Certificate, ...]:
        """The chain, its own certificate first, the root last."""
        given = [Certificate.decode(one) for one in certificates]
        own = [one for one in given if one.spki == handle.public_key]
        if not own:
            raise _refuse("none of the certificates is for the key of this CA")
        newest = max(own, key=lambda one: one.not_before)
        constraints = basic_constraints(newest)
        if constraints is None or not constraints.ca:
            raise _refuse("the certificate is not that of a CA")
        if not allows_certificate_signing(newest):
            raise _refuse("its key usage does not allow to sign certificates")
        others = [one for one in given if one.spki != handle.public_key]
        roots = [one for one in others if one.is_self_issued]
        try:
            return validate_chain(newest, others, roots, self._clock.now())
        except PKIError as error:
            raise _refuse(f"the chain does not hold: {error.detail}") from error

    def _event(
        self,
        action: str,
        actor: str,
        context: RequestContext,
        name: str,
        subject: Name,
    ) -> Write:
        facts = audit.Facts(subject=subject.text(), detail=f"authority {name}")
        return audit.of_action(self._clock.now(), action, actor, context, facts)


def key_of(name: str) -> str:
    """Name of a CA's key in the key store."""
    return f"ca-{name}"


def _refuse(detail: str) -> PKIError:
    return PKIError(ErrorCode.BAD_REQUEST, detail)
