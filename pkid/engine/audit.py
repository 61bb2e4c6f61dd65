"""Audit events from requests and decisions, and the signed head of their chain.

Every decision has one event, written in the same commit as the fact. Events hold no
secret and no key material; `hint` is for the operator and never leaves on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pkid.asn1.constructors import constructor
from pkid.engine.model import RequestContext, TransactionKey
from pkid.engine.ports import MessageSigner, Store
from pkid.engine.records import make_audit_event
from pkid.engine.writes import AppendAudit, InsertAuditCheckpoint
from pkid.errors import PKIError


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a decision was about; what is not known stays empty.

    :ivar rule: the rule that decided.
    :ivar detail: free text for people.
    """

    alias: str = ""
    certificate: str = ""
    entity: str = ""
    subject: str = ""
    transaction: TransactionKey | None = None
    rule: str = ""
    detail: str = ""


make_facts: Final = constructor(Facts)


def of_action(
    at: datetime,
    action: str,
    actor: str,
    context: RequestContext,
    facts: Facts,
    *,
    outcome: str = "done",
) -> AppendAudit:
    """The event of a decision that was carried out.

    :param action: "issue", "pend", "approve", "revoke", "confirm" ...
    """
    transaction = facts.transaction
    return AppendAudit(
        make_audit_event(
            at=at,
            action=action,
            outcome=outcome,
            actor=actor,
            protocol=context.protocol,
            alias=facts.alias,
            transport=context.transport,
            peer=context.peer,
            transaction="" if transaction is None else transaction.transaction_id.hex(),
            certificate=facts.certificate,
            entity=facts.entity,
            subject=facts.subject,
            rule=facts.rule,
            detail=facts.detail,
        )
    )


def of_refusal(
    error: PKIError,
    at: datetime,
    action: str,
    actor: str,
    context: RequestContext,
    facts: Facts,
) -> AppendAudit:
    """The event of a refusal, with the operator's hint."""
    told = replace(facts, detail=error.detail)
    event = of_action(at, action, actor, context, told, outcome="refused").event
    return AppendAudit(replace(event, code=error.code.value, hint=error.hint or ""))


def checkpoint_octets(sequence: int, digest: bytes, at: datetime) -> bytes:
    """The octets that an audit checkpoint signs."""
    moment = at.strftime("%Y%m%d%H%M%SZ")
    return b"pkid audit head %d %s %s" % (
        sequence,
        digest.hex().encode("ascii"),
        moment.encode("ascii"),
    )


async def checkpoint(
    store: Store, signer: MessageSigner, now: datetime
) -> InsertAuditCheckpoint | None:
    """Sign the audit head if it moved since the last checkpoint.

    :returns: the checkpoint, durable, or None when nothing happened since.
    """
    sequence, digest = await store.audit_head()
    checkpoints = await store.audit_checkpoints()
    if sequence == 0 or (checkpoints and checkpoints[-1].sequence == sequence):
        return None
    at = now.replace(microsecond=0)
    signature = await signer.sign_message(checkpoint_octets(sequence, digest, at))
    write = InsertAuditCheckpoint(sequence, digest, signature, at)
    await store.commit(write)
    return write
