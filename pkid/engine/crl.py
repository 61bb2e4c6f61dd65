"""Full CRLs: assembled from the store, signed by the CA, numbered upwards.

**Source:** RFC 5280 section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.crls import (
    assemble_crl,
    crl_number,
    encode_certificate_list,
    encode_crl_entry,
)
from pkid.crypto.extensions import authority_key_identifier
from pkid.engine import audit
from pkid.engine.aliases import AuthoritySettings
from pkid.engine.authorities import Authority
from pkid.engine.model import CRLRecord, RequestContext, RevokedEntry
from pkid.engine.ports import Enqueue, InsertCRL, Store, Workers
from pkid.errors import ErrorCode, PKIError

# An entry stays for one CRL after its certificate's end (RFC 5280 section 3.3).
KEEP_AFTER_EXPIRY = timedelta(days=2)


async def issue_crl(
    store: Store,
    workers: Workers,
    authority: Authority,
    settings: AuthoritySettings,
    now: datetime,
    *,
    actor: str,
    context: RequestContext,
) -> CRLRecord:
    """Make, store and announce the next full CRL of an authority.

    Its number is above every earlier one, also after a restored backup: it follows
    the clock where that is ahead. thisUpdate never goes back.
    """
    previous = await store.latest_crl(authority.name)
    now = now.replace(microsecond=0)
    this_update = max(now, previous.this_update) if previous else now
    number = max(previous.number + 1 if previous else 1, int(now.timestamp()))
    next_update = this_update + settings.crl_period + settings.crl_overlap
    entries = await store.revoked_entries(authority.name, now - KEEP_AFTER_EXPIRY)
    tbs = await workers.run(
        _assemble, authority, number, this_update, next_update, tuple(entries)
    )
    algorithm = authority.status_signer.algorithm
    signature = await authority.status_signer.sign_status(tbs)
    record = CRLRecord(
        authority=authority.name,
        number=number,
        this_update=this_update,
        next_update=next_update,
        der=_complete(authority, tbs, algorithm, signature),
    )
    await store.commit(
        InsertCRL(record),
        Enqueue("crl", authority.name),
        audit.of_action(
            now,
            "crl",
            actor,
            context,
            audit.Facts(
                certificate=authority.name,
                detail=f"number {number}, {len(entries)} entries",
            ),
        ),
    )
    return record


def _assemble(
    authority: Authority,
    number: int,
    this_update: datetime,
    next_update: datetime,
    entries: Sequence[RevokedEntry],
) -> bytes:
    return assemble_crl(
        authority.subject.der,
        authority.status_signer.algorithm,
        this_update,
        next_update,
        (
            encode_crl_entry(
                entry.serial, entry.revoked_at, int(entry.reason), entry.invalidity_at
            )
            for entry in entries
        ),
        (authority_key_identifier(authority.key.key_id), crl_number(number)),
    )


def _complete(
    authority: Authority, tbs: bytes, algorithm: AlgorithmIdentifier, signature: bytes
) -> bytes:
    """The CRL, its signature checked: one check a list costs nothing."""
    authority.key.verify(algorithm, signature, tbs)
    return encode_certificate_list(tbs, algorithm, signature)


def check_current(record: CRLRecord | None, now: datetime) -> CRLRecord:
    """Refuse a CRL whose nextUpdate has passed.

    :raises PKIError: ``UNAVAILABLE``.
    """
    if record is None or record.next_update < now:
        raise PKIError(
            ErrorCode.UNAVAILABLE,
            "there is no current CRL",
            hint="pkid ca crl AUTHORITY; is the daemon's clock right?",
            retry_after=60,
        )
    return record


def next_due(
    record: CRLRecord | None, settings: AuthoritySettings, now: datetime
) -> datetime:
    """When the CRL after this one is due."""
    return now if record is None else record.this_update + settings.crl_period
