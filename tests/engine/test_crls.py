"""Full, delta and partitioned CRLs: what is on them, when they are made."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from twisted.internet.defer import Deferred

from pkid.engine.aliases import AuthoritySettings
from pkid.engine.model import Issued, RevocationReason
from pkid.engine.records import CRLRecord
from pkid.engine.revocation import RevocationRequest
from pkid.errors import ErrorCode, PKIError
from tests.engine.world import (
    CMP,
    OPERATOR,
    OPERATOR_REQUESTER,
    InlineWorkers,
    World,
    result_of,
)
from tests.support.lint import lint_crl

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
HOLD = RevocationReason.CERTIFICATE_HOLD
RELEASE = RevocationReason.REMOVE_FROM_CRL


def configure(world: World, **settings: Any) -> None:
    from dataclasses import replace

    said = AuthoritySettings(name="issuing", **settings)
    world.policies = replace(world.policies, authorities={"issuing": said})


def issue(world: World, name: str = "one") -> Issued:
    return world.issue(world.request(world.secret(name), subject=f"CN={name}"))


def revoke(
    world: World,
    issued: Issued,
    reason: RevocationReason = RevocationReason.SUPERSEDED,
) -> None:
    request = RevocationRequest(
        reference=issued.certificate.reference,
        reason=reason,
        requester=OPERATOR_REQUESTER,
        context=CMP,
    )
    result_of(world.engine.revoke(request))


def refresh(world: World) -> int:
    return result_of(world.engine.refresh_crls())


def latest(world: World, partition: int = 0, *, delta: bool = False) -> CRLRecord:
    return result_of(world.engine.latest_crl("issuing", partition, delta=delta))


def load(record: CRLRecord) -> x509.CertificateRevocationList:
    assert lint_crl(record.der) == []
    return x509.load_der_x509_crl(record.der)


def reasons(record: CRLRecord) -> dict[int, x509.ReasonFlags]:
    return {
        entry.serial_number: entry.extensions.get_extension_for_class(
            x509.CRLReason
        ).value.reason
        for entry in load(record)
    }


def serial(issued: Issued) -> int:
    return issued.certificate.reference.serial


def pass_time(world: World, period: timedelta) -> None:
    world.clock.advance(period)


@pytest.mark.requirement("ENG-31")
def test_a_revocation_brings_about_a_delta_on_the_last_full_crl(world: World) -> None:
    configure(world, delta_crl_period=HOUR)
    issued, other = issue(world), issue(world, "two")
    pass_time(world, DAY)
    refresh(world)
    full = latest(world)
    pass_time(world, timedelta(seconds=5))
    revoke(world, issued)
    revoke(world, other, HOLD)
    assert refresh(world) == 1
    delta = latest(world, delta=True)
    assert latest(world) == full
    assert delta.number > full.number
    assert delta.base == full.number
    assert reasons(delta) == {
        serial(issued): x509.ReasonFlags.superseded,
        serial(other): x509.ReasonFlags.certificate_hold,
    }
    indicator = load(delta).extensions.get_extension_for_class(x509.DeltaCRLIndicator)
    assert indicator.critical
    assert indicator.value.crl_number == full.number
    freshest = load(full).extensions.get_extension_for_class(x509.FreshestCRL).value
    (name,) = freshest[0].full_name or ()
    assert name.value.endswith("/crls/issuing-delta.crl")
    with pytest.raises(x509.ExtensionNotFound):
        load(delta).extensions.get_extension_for_class(x509.FreshestCRL)


@pytest.mark.requirement("ENG-31")
def test_a_delta_says_what_was_released_until_the_next_full_crl(world: World) -> None:
    configure(world, delta_crl_period=HOUR)
    issued = issue(world)
    revoke(world, issued, HOLD)
    pass_time(world, DAY)
    refresh(world)
    assert serial(issued) in reasons(latest(world))
    pass_time(world, timedelta(seconds=5))
    revoke(world, issued, RELEASE)
    refresh(world)
    removed = {serial(issued): x509.ReasonFlags.remove_from_crl}
    assert reasons(latest(world, delta=True)) == removed
    pass_time(world, DAY)
    refresh(world)
    full, delta = latest(world), latest(world, delta=True)
    assert reasons(full) == {}
    # Who has the full one of before still learns of it (section 5.2.4).
    assert full.number == delta.number
    assert full.this_update == delta.this_update
    assert reasons(delta) == removed
    pass_time(world, HOUR)
    refresh(world)
    delta = latest(world, delta=True)
    assert delta.base == full.number
    assert reasons(delta) == {}


@pytest.mark.requirement("ENG-31")
def test_deltas_are_made_on_time_and_full_ones_too(world: World) -> None:
    configure(world, delta_crl_period=HOUR)
    pass_time(world, DAY)
    assert refresh(world) == 2
    made = []
    for _ in range(24):
        pass_time(world, HOUR)
        refresh(world)
        made.append((latest(world).number, latest(world, delta=True).number))
    fulls = [full for full, _ in made]
    deltas = [delta for _, delta in made]
    assert len(set(fulls)) == 2
    assert len(set(deltas)) == 24
    assert deltas == sorted(deltas)
    for full, delta in made:
        assert delta >= full


@pytest.mark.requirement("ENG-31")
def test_a_certificate_names_the_crl_of_its_partition_and_is_on_it(
    world: World,
) -> None:
    before = issue(world, "before")
    configure(world, crl_partitions=4, delta_crl_period=HOUR)
    after = [issue(world, f"n{number}") for number in range(12)]
    refresh(world)
    for issued in (before, *after):
        revoke(world, issued)
    pass_time(world, DAY)
    refresh(world)
    for issued in (before, *after):
        certificate = world.certificate(issued)
        points = certificate.extensions.get_extension_for_class(
            x509.CRLDistributionPoints
        ).value
        (name,) = points[0].full_name or ()
        partition = world.record(issued).crl_partition
        assert (partition == 0) == (issued is before)
        path = f"issuing/{partition}.crl" if partition else "issuing.crl"
        assert name.value.endswith(f"/crls/{path}")
        if partition:
            freshest = certificate.extensions.get_extension_for_class(x509.FreshestCRL)
            (place,) = freshest.value[0].full_name or ()
            assert place.value.endswith(f"/crls/issuing/{partition}-delta.crl")
        found = latest(world, partition)
        assert serial(issued) in reasons(found)
        extension = load(found).extensions.get_extension_for_class(
            x509.IssuingDistributionPoint
        )
        assert extension.critical
        assert extension.value.full_name == [name]
    listed = [reasons(latest(world, partition)) for partition in range(5)]
    assert sum(map(len, listed)) == 13


@pytest.mark.requirement("ENG-31")
def test_only_the_partition_of_a_revoked_certificate_is_made_anew(
    world: World,
) -> None:
    configure(world, crl_partitions=8)
    issued = issue(world)
    refresh(world)
    assert refresh(world) == 0
    pass_time(world, timedelta(seconds=5))
    revoke(world, issued)
    assert refresh(world) == 1
    partition = world.record(issued).crl_partition
    assert serial(issued) in reasons(latest(world, partition))


def test_partitions_go_on_when_there_are_to_be_no_more(world: World) -> None:
    configure(world, crl_partitions=2)
    issued = issue(world)
    refresh(world)
    configure(world)
    revoke(world, issued)
    refresh(world)
    found = latest(world, world.record(issued).crl_partition)
    assert serial(issued) in reasons(found)
    pass_time(world, DAY)
    refresh(world)
    # The others' list must not look as if it covered these too.
    assert load(latest(world)).extensions.get_extension_for_class(
        x509.IssuingDistributionPoint
    )


@pytest.mark.requirement("ENG-31")
def test_revocations_of_one_delay_go_together(world: World) -> None:
    configure(world, crl_delay=timedelta(minutes=1))
    first, second = issue(world, "a"), issue(world, "b")
    pass_time(world, timedelta(minutes=2))
    revoke(world, first)
    assert refresh(world) == 1
    revoke(world, second)
    pass_time(world, timedelta(seconds=30))
    assert refresh(world) == 0
    pass_time(world, timedelta(seconds=30))
    assert refresh(world) == 1
    assert set(reasons(latest(world))) == {serial(first), serial(second)}


@pytest.mark.requirement("SEC-79")
@pytest.mark.parametrize("period", [HOUR, 20 * DAY])
def test_an_entry_stays_until_a_crl_after_the_end_of_its_certificate(
    world: World, period: timedelta
) -> None:
    configure(world, crl_period=period)
    world.change_profile("device", validity=3 * DAY)
    issued = issue(world)
    revoke(world, issued)
    refresh(world)
    end = world.certificate(issued).not_valid_after_utc
    seen_after_end = False
    for _ in range(200):
        pass_time(world, period)
        refresh(world)
        listed = serial(issued) in reasons(latest(world))
        assert listed or seen_after_end
        seen_after_end = seen_after_end or latest(world).this_update > end
        if not listed:
            break
    else:
        pytest.fail("the entry never goes")


@pytest.mark.requirement("SEC-78")
def test_numbers_rise_after_an_old_store_was_restored(world: World) -> None:
    issued = issue(world)
    revoke(world, issued)
    backup = (world.directory / "pkid.sqlite").parent / "copy"
    world.store.back_up(backup)
    numbers = []
    for _ in range(3):
        pass_time(world, HOUR)
        numbers.append(result_of(world.engine.issue_crl("issuing", OPERATOR, CMP)))
    world.close()
    for path in world.directory.glob("pkid.sqlite*"):
        path.unlink()
    backup.rename(world.directory / "pkid.sqlite")
    pass_time(world, timedelta(seconds=1))
    world.open()
    refresh(world)
    restored = latest(world)
    assert restored.number > numbers[-1].number
    assert serial(issued) in reasons(restored)


class SlowWorkers(InlineWorkers):
    """Keeps the first piece of work until it is let go."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[None]] = []

    def run(self, function: Any, *args: Any, **kwargs: Any) -> Deferred[Any]:
        gate: Deferred[None] = Deferred()
        self.waiting.append(gate)
        return gate.addCallback(lambda _: function(*args, **kwargs))


def test_two_who_ask_at_once_get_two_crls(world: World) -> None:
    workers = SlowWorkers()
    world.engine.crls._workers = workers
    both = [world.engine.issue_crl("issuing", OPERATOR, CMP) for _ in range(2)]
    for _ in range(10):
        for gate in workers.waiting:
            if not gate.called:
                gate.callback(None)
    first, second = map(result_of, both)
    assert second.number > first.number


def test_a_revocation_during_the_making_of_a_crl_is_on_the_next(world: World) -> None:
    issued = issue(world)
    workers = SlowWorkers()
    world.engine.crls._workers = workers
    making = world.engine.issue_crl("issuing", OPERATOR, CMP)
    workers.waiting[0].callback(None)
    # The entries were read; the signature is being checked.
    revoke(world, issued)
    workers.waiting[1].callback(None)
    assert serial(issued) not in reasons(result_of(making))
    world.engine.crls._workers = InlineWorkers()
    assert refresh(world) == 1
    assert serial(issued) in reasons(latest(world))


def test_a_delta_without_its_base_is_refused(world: World) -> None:
    configure(world, crl_partitions=1, delta_crl_period=HOUR)
    making = world.engine.crls.issue("issuing", OPERATOR, CMP, 1, delta=True)
    with pytest.raises(PKIError) as caught:
        result_of(making)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    with pytest.raises(PKIError) as caught:
        latest(world, 1)
    assert caught.value.code is ErrorCode.NOT_FOUND
