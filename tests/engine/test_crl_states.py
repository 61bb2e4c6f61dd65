"""Any history of revocations, CRLs and deltas: what relying parties hold is the truth.

A relying party has a full CRL and any delta that builds on it or on an earlier one, as
RFC 5280 section 5.2.4 lets them be combined. Whatever it holds must say of every
certificate what was true when the delta was made.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import integers, sampled_from

from pkid.engine.aliases import AuthoritySettings
from pkid.engine.model import CertificateStatus, Issued, RevocationReason
from pkid.engine.records import CRLRecord
from pkid.engine.revocation import RevocationRequest
from tests.engine.world import CMP, OPERATOR_REQUESTER, World, result_of

REMOVED = x509.ReasonFlags.remove_from_crl
HOUR = timedelta(hours=1)
OVER = (CertificateStatus.HELD, CertificateStatus.REVOKED)
SETTINGS = AuthoritySettings(
    name="issuing", crl_period=6 * HOUR, delta_crl_period=2 * HOUR
)


def entries(record: CRLRecord) -> dict[int, x509.ReasonFlags | None]:
    found: dict[int, x509.ReasonFlags | None] = {}
    for entry in x509.load_der_x509_crl(record.der):
        try:
            extension = entry.extensions.get_extension_for_class(x509.CRLReason)
            found[entry.serial_number] = extension.value.reason
        except x509.ExtensionNotFound:
            found[entry.serial_number] = None
    return found


class Lists(RuleBasedStateMachine):
    """One authority with delta CRLs."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.world = World(self.folder / "state")
        self.world.first_start()
        self.world.policies = replace(
            self.world.policies, authorities={"issuing": SETTINGS}
        )
        self.requester = self.world.secret()
        self.issued: list[Issued] = []
        self.fulls: dict[int, CRLRecord] = {}
        self.truths: dict[int, set[int]] = {}
        self.refresh()

    def teardown(self) -> None:
        self.world.close()
        shutil.rmtree(self.folder)

    # --- what happens -------------------------------------------------------------

    @rule()
    def issue(self) -> None:
        if len(self.issued) < 6:
            request = self.world.request(self.requester)
            self.issued.append(self.world.issue(request))

    @precondition(lambda self: self.issued)
    @rule(
        index=integers(0, 5),
        reason=sampled_from(
            (
                RevocationReason.UNSPECIFIED,
                RevocationReason.KEY_COMPROMISE,
                RevocationReason.CERTIFICATE_HOLD,
                RevocationReason.REMOVE_FROM_CRL,
            )
        ),
    )
    def change(self, index: int, reason: RevocationReason) -> None:
        issued = self.issued[index % len(self.issued)]
        status = self.world.record(issued).status
        release = reason is RevocationReason.REMOVE_FROM_CRL
        hold = reason is RevocationReason.CERTIFICATE_HOLD
        held = status is CertificateStatus.HELD
        if status is CertificateStatus.REVOKED or release != held or (hold and held):
            return
        request = RevocationRequest(
            reference=issued.certificate.reference,
            reason=reason,
            requester=OPERATOR_REQUESTER,
            context=CMP,
        )
        result_of(self.world.engine.revoke(request))

    @rule(minutes=integers(0, 400))
    def wait(self, minutes: int) -> None:
        self.world.clock.advance(timedelta(minutes=minutes))

    @rule()
    def refresh(self) -> None:
        result_of(self.world.engine.refresh_crls())
        self._look()

    @rule()
    def issue_on_demand(self) -> None:
        result_of(self.world.engine.issue_crl("issuing", "uid:0", CMP))
        self._look()

    @rule()
    def restart(self) -> None:
        self.world.restart()

    # --- what relying parties see ---------------------------------------------------

    def _truth(self) -> set[int]:
        return {
            one.certificate.reference.serial
            for one in self.issued
            if self.world.record(one).status in OVER
        }

    def _latest(self, **which: Any) -> CRLRecord | None:
        return result_of(self.world.store.latest_crl("issuing", **which))

    def _look(self) -> None:
        full, delta = self._latest(), self._latest(delta=True)
        assert full is not None
        made = {one.number for one in (full, delta) if one is not None}
        newest = max(made)
        self.truths.setdefault(newest, self._truth())
        if full.number not in self.fulls:
            self.fulls[full.number] = full
            assert set(entries(full)) == self.truths[newest]
        if delta is not None and delta.number == newest:
            self._combine(delta)

    def _combine(self, delta: CRLRecord) -> None:
        """Every full CRL from the base on, below the delta, gives the same."""
        assert delta.base in self.fulls
        change = entries(delta)
        for number, full in self.fulls.items():
            if not delta.base <= number < delta.number:
                continue
            gone = {serial for serial, reason in change.items() if reason is REMOVED}
            combined = (set(entries(full)) | set(change)) - gone
            assert combined == self.truths[delta.number]

    @invariant()
    def numbers_and_times_never_fall(self) -> None:
        full, delta = self._latest(), self._latest(delta=True)
        assert full is not None
        seen: tuple[int, datetime] = getattr(self, "_seen", (0, full.this_update))
        newest = max(
            (one for one in (full, delta) if one is not None), key=lambda o: o.number
        )
        assert newest.number >= seen[0]
        assert newest.this_update >= seen[1]
        self._seen = (newest.number, newest.this_update)


TestLists = Lists.TestCase
TestLists.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
TestLists = pytest.mark.requirement("SEC-79", "ENG-31")(TestLists)
