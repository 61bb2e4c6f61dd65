"""What every `Store` does, whatever it is made of.

A test module of a store makes a class of `StoreContract` and a fixture ``store`` that
gives one, empty; ``resolve`` waits for a Deferred or a coroutine of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from pkid.crypto.crls import encode_crl_entry
from pkid.engine.model import (
    CertificateReference,
    CertificateState,
    CertificateStatus,
    CredentialKind,
    EntityStatus,
    RevocationReason,
    TransactionStatus,
    UpdateState,
)
from pkid.engine.ports import CertificateQuery, Store
from pkid.engine.records import ApprovalStatus, AuthorityPhase
from pkid.engine.writes import (
    AdvancePublisher,
    AppendAudit,
    ConsumeCredential,
    DeleteCredential,
    Enqueue,
    InsertApproval,
    InsertArchivedKey,
    InsertAuditCheckpoint,
    InsertAuthority,
    InsertCertificate,
    InsertCredential,
    InsertCRL,
    InsertEntity,
    InsertKeyHandle,
    InsertTransaction,
    RecordFailure,
    RetainPublishers,
    SweepTransactions,
    UpdateApproval,
    UpdateAuthority,
    UpdateCertificate,
    UpdateEntity,
    UpdateTransaction,
    Write,
    WriteConflict,
)
from pkid.errors import ErrorCode, PKIError
from tests.storage import samples
from tests.storage.samples import DAY, HOUR, NOW

Resolve = Callable[[Any], Any]


def revocation(number: int, **changes: Any) -> UpdateCertificate:
    values: dict[str, Any] = {
        "reference": CertificateReference("issuing", samples.serial(number)),
        "expected_status": CertificateStatus.ACTIVE,
        "expected_update_state": UpdateState.CURRENT,
        "status": CertificateStatus.REVOKED,
        "update_state": UpdateState.CURRENT,
        "reason": RevocationReason.KEY_COMPROMISE,
        "revoked_at": NOW + HOUR,
        "invalidity_at": NOW,
    }
    return UpdateCertificate(**(values | changes))


def release(number: int) -> UpdateCertificate:
    return revocation(
        number,
        expected_status=CertificateStatus.HELD,
        status=CertificateStatus.ACTIVE,
        reason=None,
        revoked_at=None,
        invalidity_at=None,
        released_at=NOW + DAY,
    )


def step(number: int, version: int, **changes: Any) -> UpdateTransaction:
    values: dict[str, Any] = {
        "key": samples.transaction(number).key,
        "expected_version": version,
        "status": TransactionStatus.DONE,
        "due": NOW + DAY,
        "state": b"next",
    }
    return UpdateTransaction(**(values | changes))


def failure(failures: int, locked_until: datetime | None) -> RecordFailure:
    return RecordFailure(id=1, failures=failures, locked_until=locked_until)


def refuse(resolve: Resolve, store: Store, *writes: Write) -> Write:
    """The write that a unit conflicted at."""
    with pytest.raises(WriteConflict) as caught:
        resolve(store.commit(*writes))
    assert caught.value.code is ErrorCode.CONFLICT
    return caught.value.write


class StoreContract:
    """The tests; each gets an empty store."""

    # --- certificates ---------------------------------------------------------------

    def test_a_certificate_comes_back_as_it_was_stored(
        self, store: Store, resolve: Resolve
    ) -> None:
        plain = samples.certificate(1)
        full = samples.certificate(
            2,
            status=CertificateStatus.HELD,
            update_state=UpdateState.IN_UPDATE,
            reason=RevocationReason.CERTIFICATE_HOLD,
            revoked_at=NOW,
            invalidity_at=NOW - DAY,
            replaces=plain.reference,
            credential=7,
            not_after=NOW.replace(year=9999),
        )
        resolve(store.commit(InsertCertificate(plain, b"1")))
        resolve(store.commit(InsertCertificate(full, b"2")))
        assert resolve(store.find_certificate(plain.reference)) == plain
        assert resolve(store.find_certificate(full.reference)) == full
        assert resolve(store.get_certificate_der(full.reference)) == b"2"
        assert resolve(store.find_certificate_by_fingerprint(full.fingerprint)) == full

    def test_a_serial_number_is_given_once_by_an_authority(
        self, store: Store, resolve: Resolve
    ) -> None:
        resolve(store.commit(InsertCertificate(samples.certificate(1), b"1")))
        again = InsertCertificate(samples.certificate(1, entity="other"), b"x")
        assert refuse(resolve, store, again) is again
        elsewhere = CertificateReference("root", samples.serial(1))
        other = samples.certificate(1, reference=elsewhere)
        resolve(store.commit(InsertCertificate(other, b"2")))
        first = resolve(store.find_certificate(samples.certificate(1).reference))
        assert first.entity == "device-1"
        assert resolve(store.get_certificate_der(first.reference)) == b"1"

    def test_what_is_not_there_is_not_found(
        self, store: Store, resolve: Resolve
    ) -> None:
        reference = CertificateReference("nobody", 1)
        assert resolve(store.find_certificate(reference)) is None
        assert resolve(store.find_certificate_by_fingerprint(b"x" * 32)) is None
        assert resolve(store.find_transaction(samples.transaction(1).key)) is None
        assert resolve(store.find_entity("nobody")) is None
        assert resolve(store.find_authority("nobody")) is None
        assert resolve(store.latest_crl("nobody")) is None
        assert resolve(store.find_key_handle("nobody")) is None
        assert resolve(store.find_approval("nobody")) is None
        assert resolve(store.find_credential(CredentialKind.ACME_EAB, "x")) is None
        assert resolve(store.search_certificates(CertificateQuery())) == []
        with pytest.raises(PKIError) as caught:
            resolve(store.get_certificate_der(reference))
        assert caught.value.code is ErrorCode.NOT_FOUND

    def test_certificates_are_found_by_key_and_key_identifier_newest_first(
        self, store: Store, resolve: Resolve
    ) -> None:
        first = samples.certificate(1)
        same = {"spki_hash": first.spki_hash, "subject_key_id": first.subject_key_id}
        second = samples.certificate(2, **same)
        # As long as an index looks, and different behind it.
        near = samples.certificate(3, spki_hash=first.spki_hash[:8] + b"x" * 24)
        for number, record in enumerate((first, second, near)):
            resolve(store.commit(InsertCertificate(record, b"%d" % number)))
        found = resolve(store.find_certificates_by_key(first.spki_hash))
        assert found == [second, first]
        found = resolve(store.find_certificates_by_key_id(first.subject_key_id))
        assert found == [second, first]

    def test_a_revocation_is_seen_at_once_and_conflicts_when_it_was_done(
        self, store: Store, resolve: Resolve
    ) -> None:
        record = samples.certificate(1)
        resolve(store.commit(InsertCertificate(record, b"1")))
        resolve(store.commit(revocation(1)))
        assert resolve(store.find_certificate(record.reference)) == replace(
            record,
            status=CertificateStatus.REVOKED,
            reason=RevocationReason.KEY_COMPROMISE,
            revoked_at=NOW + HOUR,
            invalidity_at=NOW,
        )
        again = revocation(1)
        assert refuse(resolve, store, again) is again
        updating = revocation(1, expected_update_state=UpdateState.IN_UPDATE)
        refuse(resolve, store, updating)
        refuse(resolve, store, revocation(2))

    def test_a_crl_gets_the_revoked_and_held_that_have_not_expired_by_serial(
        self, store: Store, resolve: Resolve
    ) -> None:
        for number in (5, 3, 4, 1, 2):
            gone = {"not_after": NOW} if number == 4 else {}
            record = samples.certificate(number, **gone)
            resolve(store.commit(InsertCertificate(record, b"x")))
        held = revocation(
            5,
            status=CertificateStatus.HELD,
            reason=RevocationReason.CERTIFICATE_HOLD,
            invalidity_at=None,
        )
        resolve(store.commit(held, revocation(3), revocation(4)))
        entries = store.read_crl_entries("issuing", 0, not_expired_at=NOW + HOUR)
        assert entries.count == 2
        at = NOW + HOUR
        assert b"".join(entries.pieces) == (
            encode_crl_entry(samples.serial(3), at, 1, NOW)
            + encode_crl_entry(samples.serial(5), at, 6)
        )
        nobody = store.read_crl_entries("root", 0, not_expired_at=NOW)
        assert (nobody.pieces, nobody.count) == ((), 0)
        resolve(store.commit(release(5)))
        entries = store.read_crl_entries("issuing", 0, not_expired_at=NOW + HOUR)
        assert b"".join(entries.pieces) == encode_crl_entry(
            samples.serial(3), at, 1, NOW
        )

    def test_a_delta_has_what_changed_after_a_revision(
        self, store: Store, resolve: Resolve
    ) -> None:
        resolve(store.commit(InsertAuthority(samples.authority())))
        for number in range(1, 6):
            record = samples.certificate(number)
            resolve(store.commit(InsertCertificate(record, b"x")))
        held = {"status": CertificateStatus.HELD, "invalidity_at": None}
        hold = revocation(2, reason=RevocationReason.CERTIFICATE_HOLD, **held)
        resolve(store.commit(revocation(1), hold))
        base = store.read_crl_entries("issuing", 0, not_expired_at=NOW)
        assert resolve(store.crl_revision("issuing", 0)) == base.revision
        resolve(store.commit(revocation(4), release(2)))
        change = store.read_crl_entries(
            "issuing", 0, not_expired_at=NOW, after=base.revision
        )
        assert b"".join(change.pieces) == (
            encode_crl_entry(samples.serial(2), NOW + DAY, 8)
            + encode_crl_entry(samples.serial(4), NOW + HOUR, 1, NOW)
        )
        assert change.revision > base.revision
        assert resolve(store.crl_revision("issuing", 0)) == change.revision
        full = replace(samples.crl(1), revision=change.revision)
        resolve(store.commit(InsertCRL(full)))
        later = store.read_crl_entries(
            "issuing", 0, not_expired_at=NOW, after=base.revision
        )
        assert later.count == 1

    def test_a_certificate_is_on_the_crl_of_its_partition(
        self, store: Store, resolve: Resolve
    ) -> None:
        for number in (1, 2):
            record = samples.certificate(number, crl_partition=number)
            resolve(store.commit(InsertCertificate(record, b"x")))
            assert resolve(store.find_certificate(record.reference)) == record
        resolve(store.commit(revocation(2)))
        counts = [
            store.read_crl_entries("issuing", part, not_expired_at=NOW).count
            for part in (0, 1, 2)
        ]
        assert counts == [0, 0, 1]
        assert resolve(store.crl_partitions("issuing")) == 2
        assert resolve(store.crl_partitions("root")) == 0
        assert resolve(store.crl_revision("issuing", 1)) == 0

    def test_a_unit_that_conflicts_leaves_no_entry(
        self, store: Store, resolve: Resolve
    ) -> None:
        resolve(store.commit(InsertCertificate(samples.certificate(1), b"x")))
        refuse(resolve, store, revocation(1), revocation(1))
        entries = store.read_crl_entries("issuing", 0, not_expired_at=NOW)
        assert (entries.count, entries.revision) == (0, 0)
        resolve(store.commit(revocation(1)))
        assert resolve(store.crl_revision("issuing", 0)) == 1

    def test_the_state_of_a_certificate_is_found_alone(
        self, store: Store, resolve: Resolve
    ) -> None:
        reference = samples.certificate(1).reference
        assert resolve(store.find_state(reference)) is None
        resolve(store.commit(InsertCertificate(samples.certificate(1), b"x")))
        active = CertificateState(CertificateStatus.ACTIVE, None, None)
        assert resolve(store.find_state(reference)) == active
        resolve(store.commit(revocation(1)))
        assert resolve(store.find_state(reference)) == CertificateState(
            CertificateStatus.REVOKED, RevocationReason.KEY_COMPROMISE, NOW + HOUR
        )

    def test_pages_of_a_search_give_every_certificate_once_newest_first(
        self, store: Store, resolve: Resolve
    ) -> None:
        for number in range(1, 8):
            name = "root" if number % 3 == 0 else "issuing"
            reference = CertificateReference(name, samples.serial(number))
            issued = NOW + timedelta(seconds=number // 2)
            record = samples.certificate(number, reference=reference, issued_at=issued)
            resolve(store.commit(InsertCertificate(record, b"x")))
        seen = []
        before = None
        for _ in range(10):
            page = resolve(
                store.search_certificates(CertificateQuery(before=before, limit=2))
            )
            if not page:
                break
            seen += [record.reference.serial for record in page]
            before = (page[-1].issued_at, page[-1].reference.serial)
        assert seen == [samples.serial(number) for number in range(7, 0, -1)]

    @pytest.mark.parametrize(
        ("query", "numbers"),
        [
            (CertificateQuery(authority="issuing"), [4, 3, 2, 1]),
            (CertificateQuery(authority="root"), [5]),
            (CertificateQuery(authority="nobody"), []),
            (CertificateQuery(entity="device-2"), [2]),
            (CertificateQuery(status=CertificateStatus.REVOKED), [3]),
            (CertificateQuery(status=CertificateStatus.ACTIVE), [5, 4, 2, 1]),
            (CertificateQuery(subject_prefix="CN=device-"), [5, 4, 3, 2, 1]),
            (CertificateQuery(subject_prefix="CN=device-4"), [4]),
            (CertificateQuery(subject_prefix="CN=device-%"), []),
            (CertificateQuery(serial=samples.serial(5)), [5]),
            (CertificateQuery(authority="issuing", serial=samples.serial(5)), []),
            (
                CertificateQuery(
                    authority="issuing",
                    entity="device-3",
                    status=CertificateStatus.REVOKED,
                    subject_prefix="CN=d",
                ),
                [3],
            ),
        ],
    )
    def test_a_search_filters(
        self,
        store: Store,
        resolve: Resolve,
        query: CertificateQuery,
        numbers: list[int],
    ) -> None:
        for number in range(1, 6):
            name = "root" if number == 5 else "issuing"
            reference = CertificateReference(name, samples.serial(number))
            record = samples.certificate(number, reference=reference)
            resolve(store.commit(InsertCertificate(record, b"x")))
        resolve(store.commit(revocation(3)))
        found = resolve(store.search_certificates(query))
        assert [record.reference.serial for record in found] == [
            samples.serial(number) for number in numbers
        ]

    # --- transactions ---------------------------------------------------------------

    def test_a_transaction_comes_back_as_it_was_stored(
        self, store: Store, resolve: Resolve
    ) -> None:
        first = samples.transaction(1)
        pending = samples.transaction(
            2, certificate=None, request_id="r1", status=TransactionStatus.PENDING
        )
        resolve(store.commit(InsertTransaction(first), InsertTransaction(pending)))
        assert resolve(store.find_transaction(first.key)) == first
        assert resolve(store.find_transaction(pending.key)) == pending

    def test_a_transaction_key_is_taken_once(
        self, store: Store, resolve: Resolve
    ) -> None:
        record = samples.transaction(1)
        resolve(store.commit(InsertTransaction(record)))
        refuse(resolve, store, InsertTransaction(replace(record, state=b"other")))
        mine = replace(record, key=replace(record.key, requester="secret:mine"))
        resolve(store.commit(InsertTransaction(mine)))
        found = resolve(store.find_transactions_by_id("cmp", "default", b"t00000001"))
        assert found == [record, mine]
        found = resolve(store.find_transactions_by_id("cmp", "other", b"t00000001"))
        assert found == []

    def test_a_transaction_changes_by_compare_and_swap(
        self, store: Store, resolve: Resolve
    ) -> None:
        record = samples.transaction(1, certificate=None)
        resolve(store.commit(InsertTransaction(record)))
        reference = CertificateReference("issuing", samples.serial(1))
        resolve(store.commit(step(1, 1, certificate=reference)))
        refuse(resolve, store, step(1, 1))
        resolve(store.commit(step(1, 2, state=b"last")))
        refuse(resolve, store, step(9, 1))
        assert resolve(store.find_transaction(record.key)) == replace(
            record,
            status=TransactionStatus.DONE,
            due=NOW + DAY,
            state=b"last",
            certificate=reference,
            version=3,
        )

    def test_due_transactions_come_first_due_first(
        self, store: Store, resolve: Resolve
    ) -> None:
        for number in (3, 1, 2, 4):
            record = samples.transaction(number, due=NOW + number * HOUR)
            resolve(store.commit(InsertTransaction(record)))
        resolve(store.commit(step(1, 1)))
        read = store.due_transactions
        found = resolve(read(TransactionStatus.ISSUED, NOW + 4 * HOUR, 10))
        assert [record.key.transaction_id for record in found] == [
            b"t00000002",
            b"t00000003",
        ]
        found = resolve(read(TransactionStatus.ISSUED, NOW + 4 * HOUR, 1))
        assert [record.key.transaction_id for record in found] == [b"t00000002"]

    def test_transactions_of_a_status_are_counted_as_far_as_asked(
        self, store: Store, resolve: Resolve
    ) -> None:
        count = store.count_transactions
        assert resolve(count(TransactionStatus.ISSUED, 10)) == 0
        for number in range(1, 5):
            record = samples.transaction(number)
            resolve(store.commit(InsertTransaction(record)))
        assert resolve(count(TransactionStatus.ISSUED, 10)) == 4
        assert resolve(count(TransactionStatus.ISSUED, 3)) == 3
        assert resolve(count(TransactionStatus.ELSEWHERE, 10)) == 0

    def test_a_sweep_forgets_what_is_finished_and_past_in_slices(
        self, store: Store, resolve: Resolve
    ) -> None:
        finished = (
            TransactionStatus.DONE,
            TransactionStatus.REJECTED,
            TransactionStatus.EXPIRED,
        )
        for number, status in enumerate((*finished, *TransactionStatus), 1):
            due = NOW if number <= 7 else NOW + DAY
            record = samples.transaction(number, status=status, due=due)
            resolve(store.commit(InsertTransaction(record)))

        def left() -> list[int]:
            keys = [samples.transaction(number).key for number in range(1, 9)]
            found = [resolve(store.find_transaction(key)) for key in keys]
            return [number for number, record in enumerate(found, 1) if record]

        resolve(store.commit(SweepTransactions(NOW + HOUR, 2)))
        assert len(left()) == 6
        resolve(store.commit(SweepTransactions(NOW + HOUR, 100)))
        assert left() == [4, 5, 8]

    # --- credentials ----------------------------------------------------------------

    def test_a_credential_comes_back_as_it_was_stored(
        self, store: Store, resolve: Resolve
    ) -> None:
        plain = samples.credential(1, uses_left=None)
        full = samples.credential(
            2,
            kind=CredentialKind.SCEP_CHALLENGE,
            alias="routers",
            entity="device-1",
            subject="CN=*",
            expires=NOW + DAY,
            failures=3,
            locked_until=NOW + HOUR,
        )
        resolve(store.commit(InsertCredential(plain), InsertCredential(full)))
        find = store.find_credential
        assert resolve(find(CredentialKind.CMP_SECRET, "reference-1")) == plain
        assert resolve(find(CredentialKind.SCEP_CHALLENGE, "reference-2")) == full
        assert resolve(find(CredentialKind.CMP_SECRET, "reference-2")) is None
        assert resolve(store.list_credentials()) == [plain, full]
        refuse(resolve, store, InsertCredential(replace(plain, id=3)))
        refuse(resolve, store, InsertCredential(replace(plain, reference="new")))

    def test_a_one_time_credential_is_used_once(
        self, store: Store, resolve: Resolve
    ) -> None:
        resolve(store.commit(InsertCredential(samples.credential(1))))
        resolve(store.commit(ConsumeCredential(1, NOW), *samples.issuance(1)))
        refuse(resolve, store, *samples.issuance(2), ConsumeCredential(1, NOW))
        reference = samples.certificate(2).reference
        assert resolve(store.find_certificate(reference)) is None
        found = resolve(store.find_credential(CredentialKind.CMP_SECRET, "reference-1"))
        assert found.uses_left == 0

    def test_an_expired_or_missing_credential_is_not_used_an_unlimited_one_is(
        self, store: Store, resolve: Resolve
    ) -> None:
        endless = samples.credential(1, uses_left=None, expires=NOW + HOUR)
        resolve(store.commit(InsertCredential(endless)))
        resolve(store.commit(ConsumeCredential(1, NOW)))
        resolve(store.commit(ConsumeCredential(1, NOW)))
        refuse(resolve, store, ConsumeCredential(1, NOW + HOUR))
        refuse(resolve, store, ConsumeCredential(2, NOW))
        assert resolve(store.list_credentials()) == [endless]

    def test_failures_lock_and_unlock_a_credential(
        self, store: Store, resolve: Resolve
    ) -> None:
        plain = samples.credential(1)
        resolve(store.commit(InsertCredential(plain)))
        resolve(store.commit(failure(5, NOW + HOUR)))
        locked = replace(plain, failures=5, locked_until=NOW + HOUR)
        assert resolve(store.list_credentials()) == [locked]
        resolve(store.commit(failure(0, None)))
        assert resolve(store.list_credentials()) == [plain]

    def test_a_failure_of_a_deleted_credential_still_leaves_its_audit_record(
        self, store: Store, resolve: Resolve
    ) -> None:
        resolve(store.commit(InsertCredential(samples.credential(1))))
        resolve(store.commit(DeleteCredential(1)))
        resolve(store.commit(failure(1, None), AppendAudit(samples.event())))
        assert resolve(store.audit_head())[0] == 1
        refuse(resolve, store, DeleteCredential(1))

    # --- entities, approvals --------------------------------------------------------

    def test_an_entity_changes_by_compare_and_swap(
        self, store: Store, resolve: Resolve
    ) -> None:
        entity = samples.entity()
        resolve(store.commit(InsertEntity(entity)))
        assert resolve(store.find_entity("device-1")) == entity
        refuse(resolve, store, InsertEntity(entity))
        changed = replace(
            entity,
            status=EntityStatus.GENERATED,
            enrollments_left=None,
            alternative_names=(),
        )
        resolve(store.commit(UpdateEntity(changed)))
        refuse(resolve, store, UpdateEntity(changed))
        assert resolve(store.find_entity("device-1")) == replace(changed, version=2)

    def test_entities_are_found_by_vendor_pattern_and_listed_by_name(
        self, store: Store, resolve: Resolve
    ) -> None:
        names = ["a", "b", "c"]
        for name in reversed(names):
            vendor = "CN=Vendor|42" if name == "b" else ""
            resolve(store.commit(InsertEntity(samples.entity(name, vendor=vendor))))
        found = resolve(store.find_entity_by_vendor("CN=Vendor|42"))
        assert found.name == "b"
        assert resolve(store.find_entity_by_vendor("CN=Vendor|43")) is None
        assert resolve(store.find_entity_by_vendor("")) is None
        listed = resolve(store.list_entities())
        assert [entity.name for entity in listed] == names
        listed = resolve(store.list_entities(after="a", limit=1))
        assert [entity.name for entity in listed] == ["b"]

    def test_one_unit_of_a_vendor_is_one_entity(
        self, store: Store, resolve: Resolve
    ) -> None:
        for name, vendor in (("a", "CN=Vendor|42"), ("b", ""), ("c", "")):
            resolve(store.commit(InsertEntity(samples.entity(name, vendor=vendor))))
        again = samples.entity("d", vendor="CN=Vendor|42")
        refuse(resolve, store, InsertEntity(again))

    def test_an_approval_changes_by_compare_and_swap(
        self, store: Store, resolve: Resolve
    ) -> None:
        approval = samples.approval()
        resolve(store.commit(InsertApproval(approval)))
        assert resolve(store.find_approval("r1")) == approval
        refuse(resolve, store, InsertApproval(approval))
        changed = replace(
            approval, status=ApprovalStatus.APPROVED, approvers=("ann",), note="fine"
        )
        resolve(store.commit(UpdateApproval(changed)))
        refuse(resolve, store, UpdateApproval(changed))
        assert resolve(store.find_approval("r1")) == replace(changed, version=2)

    def test_approvals_are_listed_newest_first_by_status(
        self, store: Store, resolve: Resolve
    ) -> None:
        for number in range(4):
            status = ApprovalStatus.REJECTED if number == 2 else ApprovalStatus.WAITING
            approval = samples.approval(
                f"r{number}", created=NOW + number * HOUR, status=status
            )
            resolve(store.commit(InsertApproval(approval)))
        listed = resolve(store.list_approvals(limit=3))
        assert [approval.id for approval in listed] == ["r3", "r2", "r1"]
        listed = resolve(store.list_approvals(ApprovalStatus.WAITING))
        assert [approval.id for approval in listed] == ["r3", "r1", "r0"]

    # --- authorities, CRLs, keys ----------------------------------------------------

    def test_an_authority_comes_back_as_it_was_stored(
        self, store: Store, resolve: Resolve
    ) -> None:
        root = samples.authority("root", chain=(), active=False, crl_number=5)
        issuing = samples.authority()
        resolve(store.commit(InsertAuthority(root), InsertAuthority(issuing)))
        assert resolve(store.find_authority("root")) == root
        assert resolve(store.list_authorities()) == [issuing, root]
        refuse(resolve, store, InsertAuthority(issuing))

    def test_an_authority_changes_from_the_phase_that_was_expected(
        self, store: Store, resolve: Resolve
    ) -> None:
        first = samples.authority("root", chain=(), crl_number=5)
        second = samples.authority(
            "root-2",
            chain=(),
            predecessor="root",
            phase=AuthorityPhase.NEXT,
            links=(b"\x30\x03\x02\x01\x07", b"\x30\x03\x02\x01\x08"),
        )
        resolve(store.commit(InsertAuthority(first), InsertAuthority(second)))
        assert resolve(store.find_authority("root-2")) == second
        former = replace(first, phase=AuthorityPhase.FORMER)
        refuse(resolve, store, UpdateAuthority(former, AuthorityPhase.NEXT))
        resolve(store.commit(UpdateAuthority(former, AuthorityPhase.CURRENT)))
        assert resolve(store.find_authority("root")) == former

    def test_an_authority_has_one_successor(
        self, store: Store, resolve: Resolve
    ) -> None:
        for name in ("root", "other"):
            resolve(store.commit(InsertAuthority(samples.authority(name))))
        heir = samples.authority("root-2", predecessor="root")
        resolve(store.commit(InsertAuthority(heir)))
        refuse(resolve, store, InsertAuthority(replace(heir, name="root-3")))

    def test_crl_numbers_of_an_authority_only_rise(
        self, store: Store, resolve: Resolve
    ) -> None:
        resolve(store.commit(InsertAuthority(samples.authority(crl_number=41))))
        refuse(resolve, store, InsertCRL(samples.crl(41)))
        huge = 1 << 150
        for number in (42, 50, huge):
            resolve(store.commit(InsertCRL(samples.crl(number))))
        for number in (42, 49, 50, huge):
            refuse(resolve, store, InsertCRL(samples.crl(number)))
        assert resolve(store.latest_crl("issuing")) == samples.crl(huge)
        assert resolve(store.find_authority("issuing")).crl_number == huge
        refuse(resolve, store, InsertCRL(samples.crl(1, "nobody")))

    @pytest.mark.requirement("SEC-111")
    def test_each_kind_of_crl_has_its_own_latest(
        self, store: Store, resolve: Resolve
    ) -> None:
        resolve(store.commit(InsertAuthority(samples.authority())))
        part = replace(samples.crl(2), partition=3, revision=7)
        full = replace(samples.crl(4), revision=9)
        delta = replace(full, base=1, der=b"delta")
        resolve(store.commit(InsertCRL(samples.crl(1))))
        resolve(store.commit(InsertCRL(part)))
        resolve(store.commit(InsertCRL(full, delta)))
        assert resolve(store.latest_crl("issuing")) == full
        assert resolve(store.latest_crl("issuing", delta=True)) == delta
        assert resolve(store.latest_crl("issuing", 3)) == part
        assert resolve(store.latest_crl("issuing", 3, delta=True)) is None
        head = resolve(store.crl_head("issuing", delta=True))
        assert (head.number, head.base, head.revision) == (4, 1, 9)
        assert resolve(store.crl_partitions("issuing")) == 3

    def test_a_key_has_one_name_and_one_purpose(
        self, store: Store, resolve: Resolve
    ) -> None:
        handle = samples.key_handle()
        resolve(store.commit(InsertKeyHandle(handle)))
        refuse(resolve, store, InsertKeyHandle(samples.key_handle("cmp")))
        refuse(resolve, store, InsertKeyHandle(samples.key_handle(public_key=b"x")))
        assert resolve(store.find_key_handle("issuing")) == handle
        assert resolve(store.own_keys()) == [b"spki"]

    def test_archived_keys_of_an_entity_come_back_newest_first(
        self, store: Store, resolve: Resolve
    ) -> None:
        resolve(store.commit(*samples.issuance(1), *samples.issuance(2)))
        older = samples.archived_key(1)
        newer = samples.archived_key(2, created=NOW + HOUR)
        resolve(store.commit(InsertArchivedKey(older), InsertArchivedKey(newer)))
        assert resolve(store.archived_keys("device-1", 10)) == [newer, older]
        assert resolve(store.archived_keys("device-1", 1)) == [newer]
        assert resolve(store.archived_keys("device-2", 10)) == []
        refuse(resolve, store, InsertArchivedKey(older))

    # --- audit and outbox -----------------------------------------------------------

    def test_outbox_tasks_go_when_they_are_done_and_their_ids_do_not_return(
        self, store: Store, resolve: Resolve
    ) -> None:
        resolve(store.commit(Enqueue("crl", "issuing"), Enqueue("crl", "root")))
        first, second = resolve(store.outbox(10))
        assert (first.kind, first.subject, second.subject) == ("crl", "issuing", "root")
        assert resolve(store.outbox(1)) == [first]
        assert resolve(store.outbox(10, after=first.id)) == [second]
        assert resolve(store.outbox_head()) == second.id
        assert resolve(store.publisher_position("one")) is None
        resolve(store.commit(AdvancePublisher("one", second.id)))
        assert resolve(store.outbox(10)) == []
        assert resolve(store.publisher_position("one")) == second.id
        resolve(store.commit(Enqueue("crl", "issuing")))
        (third,) = resolve(store.outbox(10))
        assert third.id > second.id

    def test_a_task_stays_until_every_publisher_has_done_it(
        self, store: Store, resolve: Resolve
    ) -> None:
        for name in ("one", "two"):
            resolve(store.commit(AdvancePublisher(name, 0)))
        resolve(store.commit(Enqueue("crl", "a"), Enqueue("crl", "b")))
        first, second = resolve(store.outbox(10))
        resolve(store.commit(AdvancePublisher("one", second.id)))
        assert resolve(store.outbox(10)) == [first, second]
        resolve(store.commit(AdvancePublisher("two", first.id)))
        assert resolve(store.outbox(10)) == [second]
        # To say it late is no step back.
        resolve(store.commit(AdvancePublisher("one", first.id)))
        assert resolve(store.publisher_position("one")) == second.id
        resolve(store.commit(RetainPublishers(("one",))))
        assert resolve(store.publisher_position("two")) is None
        resolve(store.commit(AdvancePublisher("one", second.id)))
        assert resolve(store.outbox(10)) == []

    def test_audit_records_are_numbered_chained_and_complete(
        self, store: Store, resolve: Resolve
    ) -> None:
        assert resolve(store.audit_head()) == (0, bytes(32))
        events = [samples.event(number) for number in range(5)]
        resolve(store.commit(*map(AppendAudit, events[:3])))
        resolve(store.commit(*map(AppendAudit, events[3:])))
        records = resolve(samples.listed(store.audit_records()))
        assert [record.sequence for record in records] == [1, 2, 3, 4, 5]
        assert [record.event for record in records] == events
        assert len({record.digest for record in records}) == 5
        assert resolve(store.audit_head()) == (5, records[4].digest)
        assert resolve(samples.listed(store.audit_records(after=3))) == records[3:]

    def test_a_refused_unit_leaves_no_gap_in_the_audit_log(
        self, store: Store, resolve: Resolve
    ) -> None:
        resolve(store.commit(*samples.issuance(1)))
        lost = samples.event(2, action="lost")
        refuse(resolve, store, AppendAudit(lost), *samples.issuance(1))
        resolve(store.commit(*samples.issuance(3)))
        records = resolve(samples.listed(store.audit_records()))
        assert [record.sequence for record in records] == [1, 2]
        assert [record.event.action for record in records] == ["issue", "issue"]

    @pytest.mark.parametrize(
        ("text", "numbers"),
        [
            ("192.0.2.17", [1, 2, 3]),
            ("192.0.2.", [1, 2, 3]),
            ("t00000002", [2]),
            ("t0000000", []),
            ("device-3", [3]),
            ("CN=device-3,O=Example", [3]),
            ("CN=device-3", [3]),
            ("CN=device-%", []),
            ("secret:fleet", [1, 2, 3]),
            ("secret:fl", []),
            (str(CertificateReference("issuing", samples.serial(2))), [2]),
            ("issued", []),
            ("", []),
        ],
    )
    def test_the_audit_log_is_searched_by_who_and_what_newest_first(
        self, store: Store, resolve: Resolve, text: str, numbers: list[int]
    ) -> None:
        for number in (1, 2, 3):
            resolve(store.commit(AppendAudit(samples.event(number))))
        found = resolve(store.search_audit(text, 10))
        assert [record.sequence for record in found] == numbers[::-1]
        found = resolve(store.search_audit(text, 1))
        assert [record.sequence for record in found] == numbers[-1:]

    def test_audit_checkpoints_are_kept(self, store: Store, resolve: Resolve) -> None:
        resolve(store.commit(AppendAudit(samples.event())))
        checkpoint = InsertAuditCheckpoint(1, b"d" * 32, b"signature", NOW)
        resolve(store.commit(checkpoint))
        assert resolve(store.audit_checkpoints()) == [checkpoint]
        refuse(resolve, store, checkpoint)

    # --- units ----------------------------------------------------------------------

    def test_a_unit_is_stored_whole_or_not_at_all(
        self, store: Store, resolve: Resolve
    ) -> None:
        resolve(store.commit(*samples.issuance(1)))
        fresh = InsertEntity(samples.entity("new"))
        named = InsertCertificate(
            samples.certificate(2, profile="new profile", alias="new alias"), b"2"
        )
        refuse(resolve, store, fresh, named, *samples.issuance(1))
        assert resolve(store.find_entity("new")) is None
        assert resolve(store.find_certificate(named.record.reference)) is None
        assert resolve(store.audit_head())[0] == 1
        assert len(resolve(store.outbox(10))) == 1
        resolve(store.commit(fresh, named))
        assert resolve(store.find_certificate(named.record.reference)) == named.record

    def test_an_empty_unit_is_nothing(self, store: Store, resolve: Resolve) -> None:
        resolve(store.commit())
        assert resolve(store.audit_head())[0] == 0
