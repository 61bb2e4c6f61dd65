"""Whatever order things happen in: one certificate a transaction, no status lost."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
)

from pkid.engine.confirmation import Confirmation
from pkid.engine.model import (
    CertificateStatus,
    EnrollmentRequest,
    Issued,
    Outcome,
    RevocationReason,
)
from pkid.engine.ports import CertificateQuery
from pkid.engine.revocation import RevocationRequest
from pkid.errors import PKIError
from tests.engine.world import CMP, OPERATOR_REQUESTER, DeviceKey, World, result_of

WAIT = timedelta(minutes=5)
KEYS = [DeviceKey() for _ in range(3)]
ACTIVE, HELD, REVOKED, AWAITING = (
    CertificateStatus.ACTIVE,
    CertificateStatus.HELD,
    CertificateStatus.REVOKED,
    CertificateStatus.AWAITING_CONFIRMATION,
)


class CrashingAnswerError(Exception):
    """Stands for the process dying between signing and storing."""


class Life(RuleBasedStateMachine):
    """A model (two dictionaries) beside the engine."""

    requests = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="pkid-states-"))
        self.world = World(self.directory / "state")
        self.world.first_start()
        self.requester = self.world.secret()
        self.statuses: dict[int, CertificateStatus] = {}
        self.issued: dict[bytes, Issued] = {}

    def teardown(self) -> None:
        self.world.close()
        shutil.rmtree(self.directory)

    @rule(
        target=requests,
        key=st.sampled_from(KEYS),
        waits=st.booleans(),
    )
    def ask(self, key: DeviceKey, waits: bool) -> EnrollmentRequest:
        return self.world.request(
            self.requester, key, confirmation=WAIT if waits else None
        )

    @rule(request=requests)
    def enroll_or_repeat(self, request: EnrollmentRequest) -> None:
        row = result_of(self.world.engine.find_transaction(request.transaction))
        if row is not None and row.status.name in {"REJECTED", "EXPIRED"}:
            with pytest.raises(PKIError):
                self.world.enroll(request)
            return
        issued = self.world.issue(request)
        before = self.issued.setdefault(request.transaction.transaction_id, issued)
        assert before.der == issued.der
        fresh = AWAITING if request.confirmation else ACTIVE
        self.statuses.setdefault(issued.certificate.reference.serial, fresh)

    @rule(request=requests)
    def die_between_signing_and_storing(self, request: EnrollmentRequest) -> None:
        async def die(outcome: Outcome) -> bytes:
            raise CrashingAnswerError

        if request.transaction.transaction_id in self.issued:
            return
        with pytest.raises(CrashingAnswerError):
            self.world.enroll(request, die)

    @rule(request=requests, accepted=st.booleans())
    def confirm(self, request: EnrollmentRequest, accepted: bool) -> None:
        issued = self.issued.get(request.transaction.transaction_id)
        word = Confirmation(
            key=request.transaction,
            accepted=accepted,
            requester=request.requester,
            context=CMP,
            state=b"",
        )
        serial = issued.certificate.reference.serial if issued else 0
        row = result_of(self.world.engine.find_transaction(request.transaction))
        open_now = row is not None and row.status.name == "ISSUED"
        in_time = row is not None and row.due >= self.world.clock.now()
        if not (open_now and in_time):
            with pytest.raises(PKIError):
                result_of(self.world.engine.confirm(word))
            return
        result_of(self.world.engine.confirm(word))
        if self.statuses[serial] is AWAITING:
            self.statuses[serial] = ACTIVE if accepted else REVOKED

    @rule(seconds=st.integers(min_value=0, max_value=400))
    def let_time_pass(self, seconds: int) -> None:
        self.world.clock.advance(timedelta(seconds=seconds))
        result_of(self.world.engine.expire_unconfirmed())
        for issued in self.issued.values():
            serial = issued.certificate.reference.serial
            by = issued.confirm_by
            late = by is not None and by <= self.world.clock.now()
            if self.statuses[serial] is AWAITING and late:
                self.statuses[serial] = REVOKED

    @rule(request=requests, reason=st.sampled_from(list(RevocationReason)))
    def revoke(self, request: EnrollmentRequest, reason: RevocationReason) -> None:
        issued = self.issued.get(request.transaction.transaction_id)
        if issued is None:
            return
        serial = issued.certificate.reference.serial
        after = self._after(self.statuses[serial], reason)
        change = RevocationRequest(
            reference=issued.certificate.reference,
            reason=reason,
            requester=OPERATOR_REQUESTER,
            context=CMP,
        )
        if after is None:
            with pytest.raises(PKIError):
                result_of(self.world.engine.revoke(change))
            return
        result_of(self.world.engine.revoke(change))
        self.statuses[serial] = after

    @staticmethod
    def _after(
        status: CertificateStatus, reason: RevocationReason
    ) -> CertificateStatus | None:
        if reason is RevocationReason.REMOVE_FROM_CRL:
            return ACTIVE if status is HELD else None
        if status is REVOKED:
            return None
        if reason is RevocationReason.CERTIFICATE_HOLD:
            return None if status is HELD else HELD
        return REVOKED

    @rule(request=consumes(requests))
    def forget(self, request: EnrollmentRequest) -> None:
        """The client never comes back."""

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @invariant()
    def one_certificate_a_transaction_and_no_status_lost(self) -> None:
        query = CertificateQuery(entity="device-1", limit=1000)
        records = result_of(self.world.engine.search_certificates(query))
        found = {record.reference.serial: record.status for record in records}
        assert found == self.statuses

    @invariant()
    def the_crl_tells_of_every_revocation(self) -> None:
        result_of(self.world.engine.issue_crl("issuing", "uid:0", CMP))
        record = result_of(self.world.engine.latest_crl("issuing"))
        listed = {entry.serial_number for entry in x509.load_der_x509_crl(record.der)}
        wanted = {
            serial
            for serial, status in self.statuses.items()
            if status in (HELD, REVOKED)
        }
        assert listed == wanted


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
TestLife = pytest.mark.requirement("FLT-01", "SEC-79", "ENG-25")(TestLife)
