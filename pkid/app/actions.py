"""What the control socket can do beyond reading: one function a row.

Arguments are checked here; what they mean, the engine decides.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final

from pkid.app import views
from pkid.app.control import Actions, Call
from pkid.app.durations import decode_duration
from pkid.app.house import House
from pkid.app.readings import MAX_LIMIT, find_certificate, missing, need, refuse
from pkid.app.rehearsal import rehearse
from pkid.app.resources import ENTITY_COLUMNS, KINDS, REASONS
from pkid.app.settings import Configuration
from pkid.app.showing import list_aliases, show_alias
from pkid.app.views import View
from pkid.engine.aliases import Policies
from pkid.engine.credentials import NewSecret
from pkid.engine.endentities import vendor_pattern
from pkid.engine.model import (
    CertificateStatus,
    CredentialBinding,
    CredentialKind,
    EndEntity,
    EntityStatus,
    Requester,
    RequesterKind,
    RevocationReason,
)
from pkid.engine.ports import CertificateQuery
from pkid.engine.revocation import RevocationRequest

MAX_USES: Final = 1_000_000
KEY_HASH_OCTETS: Final = 32
CHALLENGE_OWNER: Final = "challenges:operators"


class Desk:
    """The operator's desk: engine, and the configuration of the moment.

    :param warnings: sentences that ``status`` shows.
    :param renew: makes the daemon's own certificates anew where they must be.
    """

    def __init__(
        self,
        house: House,
        *,
        configuration: Callable[[], Configuration],
        policies: Callable[[], Policies],
        warnings: Callable[[], list[str]],
        renew: Callable[[], Awaitable[int]],
    ) -> None:
        self._house = house
        self._engine = house.engine
        self._administration = house.engine.administration
        self._configuration = configuration
        self._policies = policies
        self._warnings = warnings
        self._renew = renew

    def actions(self) -> Actions:
        """The table."""
        return {
            ("GET", "status"): self.status,
            ("POST", "clock/confirm"): self.confirm_clock,
            ("POST", "secrets"): self.add_secret,
            ("DELETE", "secrets"): self.remove_secret,
            ("GET", "scep/fingerprints"): self.list_fingerprints,
            ("POST", "scep/challenges"): self.add_challenge,
            ("POST", "entities"): self.add_entity,
            ("POST", "entities/import"): self.import_entities,
            ("POST", "entities/rearm"): self.rearm_entity,
            ("POST", "entities/recover"): self.recover_entity,
            ("POST", "vendor-units"): self.add_vendor_unit,
            ("POST", "requests/approve"): self.approve,
            ("POST", "requests/reject"): self.reject,
            ("POST", "certificates/revoke"): self.revoke,
            ("GET", "aliases"): self.list_aliases,
            ("GET", "alias"): self.show_alias,
            ("POST", "aliases/test"): self.test_alias,
        }

    # --- the daemon ---------------------------------------------------------------

    async def status(self, _call: Call) -> View:
        """Whether it works, and what it warns of."""
        sequence, digest = await self._house.store.audit_head()
        waiting = await self._house.store.list_approvals(None, 1000)
        return {
            "daemon": "running",
            "configuration": self._configuration().source,
            "public_url": self._configuration().general.public_url,
            "authorities": [
                views.authority(one)
                for one in await self._house.store.list_authorities()
            ],
            "requests_waiting": sum(one.status.value == "waiting" for one in waiting),
            "audit": {"sequence": sequence, "digest": digest.hex()},
            "warnings": self._warnings(),
        }

    async def confirm_clock(self, call: Call) -> View:
        """The clock is right, says the operator: issue again."""
        await self._engine.confirm_clock(call.actor, call.context)
        await self._renew()
        return {"clock": views.moment(self._house.clock.now())}

    # --- secrets ------------------------------------------------------------------

    async def add_secret(self, call: Call) -> View:
        """Make a shared secret; the answer is the only time that it is shown."""
        given = text(call, "secret")
        issued = await self._administration.add_secret(
            NewSecret(
                kind=kind_of(text(call, "kind")),
                reference=text(call, "reference") or None,
                secret=given.encode() or None,
                alias=text(call, "alias"),
                entity=text(call, "entity"),
                subject=text(call, "subject"),
                uses=number(call, "uses", MAX_USES),
                expires=self._expiry(text(call, "expires")),
            ),
            call.actor,
            call.context,
        )
        return {
            **views.secret(issued.credential),
            "secret": issued.secret.decode("utf-8", "replace"),
        }

    async def list_fingerprints(self, _call: Call) -> list[View]:
        """What people compare on a device: digests of RA and CA certificates."""
        rows: list[View] = []
        for name, alias in self._configuration().scep_aliases.items():
            authority = alias.alias.authority
            identity = self._engine.exchange.get(authority, alias.identity)
            found = {
                "signs answers": identity.certificate,
                "opens requests": identity.encryption_certificate,
                "issues": self._engine.chain(authority)[0],
            }
            rows += [views.fingerprints(name, what, one) for what, one in found.items()]
        return rows

    async def add_challenge(self, call: Call) -> View:
        """Make a SCEP challenge; the answer is the only time that it is shown."""
        given = text(call, "challenge")
        issued = await self._administration.add_secret(
            NewSecret(
                kind=CredentialKind.SCEP_CHALLENGE,
                secret=given.encode() or None,
                alias=text(call, "alias"),
                entity=text(call, "entity"),
                subject=text(call, "subject"),
                uses=number(call, "uses", MAX_USES),
                expires=self._expiry(text(call, "expires")),
                binding=binding_of(call),
            ),
            call.actor,
            call.context,
        )
        return {
            **views.secret(issued.credential),
            "challenge": issued.secret.decode("utf-8", "replace"),
        }

    async def remove_secret(self, call: Call) -> View:
        """Remove a shared secret at once."""
        reference = need(call.arguments, "reference")
        kind = kind_of(call.arguments.get("kind", ""))
        await self._administration.remove_secret(
            kind, reference, call.actor, call.context
        )
        return {"removed": reference}

    def _expiry(self, given: str) -> datetime | None:
        if not given:
            return None
        try:
            return self._house.clock.now() + decode_duration(given)
        except ValueError as error:
            raise refuse(f"expires {error}") from None

    # --- entities -----------------------------------------------------------------

    async def add_entity(self, call: Call) -> View:
        """Register an end entity."""
        entity = entity_of(call.body, self._house.clock.now())
        await self._administration.add_entity(entity, call.actor, call.context)
        return views.entity(entity)

    async def import_entities(self, call: Call) -> View:
        """Register many: all or nothing."""
        rows = call.body.get("entities")
        if not isinstance(rows, list):
            raise refuse("entities must be a list of objects")
        now = self._house.clock.now()
        result = await self._administration.import_entities(
            [entity_of(row, now) for row in rows],
            dry_run=call.body.get("dry_run") is True,
            actor=call.actor,
            context=call.context,
        )
        return {"added": result.added, "faults": list(result.faults)}

    async def rearm_entity(self, call: Call) -> View:
        """Allow one new enrolment."""
        name = needed_text(call, "name")
        armed = await self._administration.rearm_entity(
            name, call.actor, call.context, text(call, "unit")
        )
        if call.body.get("revoke") is True:
            await self._revoke_all(name, call)
        return views.entity(armed)

    async def recover_entity(self, call: Call) -> View:
        """Allow an end entity to recover its archived keys, once."""
        name = needed_text(call, "name")
        archive = self._engine.key_archive
        return views.entity(await archive.allow(name, call.actor, call.context))

    async def _revoke_all(self, entity: str, call: Call) -> None:
        """Revoke what an entity holds: its unit is gone, or was reset."""
        operator = Requester(kind=RequesterKind.OPERATOR, identity=call.actor)
        for status in (CertificateStatus.ACTIVE, CertificateStatus.HELD):
            query = CertificateQuery(entity=entity, status=status, limit=MAX_LIMIT)
            for record in await self._house.store.search_certificates(query):
                await self._engine.revoke(
                    RevocationRequest(
                        reference=record.reference,
                        reason=RevocationReason.SUPERSEDED,
                        requester=operator,
                        context=call.context,
                        detail="the end entity was rearmed",
                    )
                )

    async def add_vendor_unit(self, call: Call) -> View:
        """Put one unit of a vendor on the allow-list."""
        vendor = needed_text(call, "vendor")
        if vendor not in self._policies().vendors:
            raise missing("there is no such vendor", f"declare [vendor.{vendor}]")
        unit = needed_text(call, "unit")
        entity = EndEntity(
            name=text(call, "name") or unit,
            status=EntityStatus.NEW,
            created=self._house.clock.now(),
            subject=text(call, "subject"),
            alternative_names=_texts(call.body, "alternative_names"),
            vendor=vendor_pattern(vendor, unit),
            enrollments_left=number(call, "enrollments_left", MAX_USES),
        )
        await self._administration.add_entity(entity, call.actor, call.context)
        return views.entity(entity)

    # --- requests -----------------------------------------------------------------

    async def approve(self, call: Call) -> View:
        """Say yes to a request."""
        return views.approval(
            await self._administration.approve(
                needed_text(call, "id"), call.actor, text(call, "note"), call.context
            )
        )

    async def reject(self, call: Call) -> View:
        """Say no to a request."""
        return views.approval(
            await self._administration.reject(
                needed_text(call, "id"), call.actor, text(call, "note"), call.context
            )
        )

    # --- certificates -------------------------------------------------------------

    async def revoke(self, call: Call) -> View:
        """Revoke, hold or release a certificate."""
        name = text(call, "reason") or "unspecified"
        reason = REASONS.get(name)
        if reason is None:
            raise refuse(f"reason must be one of {', '.join(REASONS)}")
        record = await find_certificate(
            self._house.store, needed_text(call, "reference")
        )
        operator = Requester(kind=RequesterKind.OPERATOR, identity=call.actor)
        after = await self._engine.revoke(
            RevocationRequest(
                reference=record.reference,
                reason=reason,
                requester=operator,
                context=call.context,
                detail=text(call, "note"),
            )
        )
        return views.certificate(after)

    # --- aliases ------------------------------------------------------------------

    async def list_aliases(self, _call: Call) -> list[View]:
        """All entrances."""
        return list_aliases(self._configuration())

    async def show_alias(self, call: Call) -> View:
        """One entrance, with everything that holds for it."""
        name = need(call.arguments, "name")
        effective = bool(call.arguments.get("effective"))
        protocol = call.arguments.get("protocol") or "cmp"
        return show_alias(
            self._configuration(), name, protocol=protocol, effective=effective
        )

    async def test_alias(self, call: Call) -> View:
        """What an entrance would do with a request; nothing is signed or stored."""
        name = needed_text(call, "name")
        alias = self._configuration().cmp_aliases.get(name)
        if alias is None:
            raise missing("there is no such alias", "pkid alias list")
        try:
            octets = base64.b64decode(needed_text(call, "request"), validate=True)
        except ValueError:
            raise refuse("request is not base64") from None
        return rehearse(
            octets,
            alias,
            policies=self._policies(),
            issuer=self._issuer(alias.alias.authority),
            now=self._house.clock.now(),
        )

    def _issuer(self, name: str) -> bytes:
        return self._engine.chain(name)[0]


# --- arguments ------------------------------------------------------------------


def text(call: Call, name: str) -> str:
    """A text of the body; "" when it is not there.

    :raises PKIError: ``BAD_REQUEST``.
    """
    found = call.body.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise refuse(f"{name} must be a text")
    return found


def needed_text(call: Call, name: str) -> str:
    """A text of the body that must be there.

    :raises PKIError: ``BAD_REQUEST``.
    """
    found = text(call, name)
    if not found:
        raise refuse(f"{name} is missing")
    return found


def number(call: Call, name: str, most: int) -> int | None:
    """A whole number of the body, from 1; None when it is not there.

    :raises PKIError: ``BAD_REQUEST``.
    """
    found = call.body.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= most:
        raise refuse(f"{name} must be from 1 to {most}")
    return found


def kind_of(name: str) -> CredentialKind:
    """A kind of secret by its name; CMP's when there is none.

    :raises PKIError: ``BAD_REQUEST``.
    """
    kind = KINDS.get(name or CredentialKind.CMP_SECRET.value)
    if kind is None:
        raise refuse(f"kind must be one of {', '.join(KINDS)}")
    return kind


def binding_of(call: Call) -> CredentialBinding:
    """What a challenge is bound to beside its alias, entity and subject.

    :raises PKIError: ``BAD_REQUEST``.
    """
    try:
        key_hash = bytes.fromhex(text(call, "key"))
    except ValueError:
        key_hash = b"?"
    if len(key_hash) not in (0, KEY_HASH_OCTETS):
        raise refuse("key must be the SHA-256 of a public key, in hexadecimal")
    # An operator who names the device may give its names to another one's key.
    owner = CHALLENGE_OWNER if text(call, "subject") else ""
    return CredentialBinding(
        alternative_names=_texts(call.body, "alternative_names"),
        profile=text(call, "profile"),
        key_hash=key_hash,
        owner=owner,
    )


def entity_of(row: object, now: datetime) -> EndEntity:
    """An end entity of a JSON object; unknown keys are refused.

    :raises PKIError: ``BAD_REQUEST``.
    """
    if not isinstance(row, Mapping):
        raise refuse("an end entity is an object")
    unknown = set(row) - set(ENTITY_COLUMNS)
    if unknown:
        raise refuse(
            f"unknown field {min(map(str, unknown))}",
            f"known are {', '.join(ENTITY_COLUMNS)}",
        )
    names = _texts(row, "alternative_names")
    left = row.get("enrollments_left")
    if not (left is None or (isinstance(left, int) and left >= 0)):
        raise refuse("enrollments_left must be a whole number")
    name = _field(row, "name")
    if not name:
        raise refuse("an end entity needs a name")
    return EndEntity(
        name=name,
        subject=_field(row, "subject"),
        alternative_names=names,
        authority=_field(row, "authority"),
        certificate_profile=_field(row, "certificate_profile"),
        end_entity_profile=_field(row, "end_entity_profile"),
        vendor=_field(row, "vendor"),
        enrollments_left=left,
        status=EntityStatus.NEW,
        created=now,
    )


def _texts(row: Mapping[str, object], name: str) -> tuple[str, ...]:
    found = row.get(name) or []
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise refuse(f"{name} must be a list of texts")
    return tuple(found)


def _field(row: Mapping[str, object], name: str) -> str:
    found = row.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise refuse(f"{name} must be a text")
    return found
