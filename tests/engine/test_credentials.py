"""Shared secrets: sealed, counted, locked for a while and never for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from twisted.internet.defer import Deferred

from pkid.engine.credentials import (
    MAX_OPENED,
    AuthenticationFailure,
    NewSecret,
    OpenedSecrets,
    SharedSecret,
)
from pkid.engine.model import CredentialKind, EndEntity, EntityStatus
from pkid.engine.writes import Write
from pkid.errors import ErrorCode, PKIError
from tests.engine.world import CMP, OPERATOR, START, World, result_of

KIND = CredentialKind.CMP_SECRET


class CountingBox:
    """Opens anything, and counts."""

    def __init__(self) -> None:
        self.opened = 0

    def index(self, secret: bytes) -> bytes:
        return secret.ljust(32)[:32]

    def seal(self, secret: bytes, associated: bytes) -> bytes:
        return secret

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        self.opened += 1
        return sealed


def find(world: World, reference: str = "device-1") -> SharedSecret:
    found = result_of(world.engine.find_secret(KIND, reference, "default"))
    assert found is not None
    return found


def fail(world: World) -> None:
    failure = AuthenticationFailure(
        error=PKIError(ErrorCode.BAD_MESSAGE_CHECK, "wrong MAC"),
        context=CMP,
        alias="default",
        actor="unknown",
        credential=find(world).credential,
    )
    result_of(world.engine.report_failure(failure))


def test_a_minted_secret_has_160_bits_and_opens_to_itself(world: World) -> None:
    new = NewSecret(kind=KIND, reference="device-1")
    issued = result_of(world.engine.administration.add_secret(new, OPERATOR, CMP))
    assert len(issued.secret) == 32
    assert find(world).secret == issued.secret
    assert issued.secret not in issued.credential.sealed


@pytest.mark.requirement("SEC-106")
def test_a_secret_shows_in_no_repr(world: World) -> None:
    new = NewSecret(kind=KIND, reference="device-1", secret=b"canary")
    issued = result_of(world.engine.administration.add_secret(new, OPERATOR, CMP))
    found = find(world)
    for value in (new, issued, issued.credential, found):
        assert "canary" not in repr(value)


def test_a_secret_is_decrypted_once_and_its_uses_are_read_each_time(
    world: World,
) -> None:
    world.secret(uses=1)
    first = find(world)
    world.issue(world.request(first.requester))
    second = find(world)
    assert second.secret is first.secret
    assert (first.usable, second.usable) == (True, False)


def test_a_secret_made_anew_under_the_same_reference_is_decrypted_anew(
    world: World,
) -> None:
    world.secret(secret=b"the old one")
    assert find(world).secret == b"the old one"
    result_of(
        world.engine.administration.remove_secret(KIND, "device-1", OPERATOR, CMP)
    )
    world.secret(secret=b"the new one")
    assert find(world).secret == b"the new one"


def test_no_more_than_so_many_secrets_stay_decrypted(world: World) -> None:
    world.secret()
    credential = find(world).credential
    box = CountingBox()
    secrets = OpenedSecrets(box)
    for number in range(MAX_OPENED + 1):
        secrets.open(replace(credential, id=number), START)
    assert box.opened == MAX_OPENED + 1
    secrets.open(replace(credential, id=MAX_OPENED), START)
    assert box.opened == MAX_OPENED + 1
    secrets.open(replace(credential, id=0), START)
    assert box.opened == MAX_OPENED + 2


def test_a_reference_is_taken_once(world: World) -> None:
    world.secret()
    with pytest.raises(PKIError) as caught:
        world.secret()
    assert caught.value.code is ErrorCode.CONFLICT


@pytest.mark.requirement("SEC-06", "CMP-192", "ENG-28")
def test_ten_failures_lock_a_secret_for_a_minute(world: World) -> None:
    world.secret()
    for _ in range(9):
        fail(world)
    assert find(world).usable
    fail(world)
    locked = find(world)
    assert not locked.usable
    assert "locked" in locked.hint
    fail(world)
    world.clock.advance(timedelta(minutes=1, seconds=1))
    assert find(world).usable


def test_an_expired_secret_is_not_usable(world: World) -> None:
    world.secret(expires=START + timedelta(hours=1))
    assert find(world).usable
    world.clock.advance(timedelta(hours=1))
    assert not find(world).usable
    assert find(world).hint == "reference device-1 has expired: pkid secret add"


def test_a_secret_serves_its_alias_only(world: World) -> None:
    world.secret(alias="default")
    assert result_of(world.engine.find_secret(KIND, "device-1", "other")) is None


@pytest.mark.parametrize(
    "fields",
    [{"reference": ""}, {"reference": "x" * 129}, {"secret": b""}, {"uses": 0}],
)
def test_secrets_that_make_no_sense_are_refused(
    world: World, fields: dict[str, object]
) -> None:
    with pytest.raises(PKIError) as caught:
        world.secret(**{"reference": "r", **fields})  # type: ignore[arg-type]
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_failures_are_audited(world: World) -> None:
    world.secret()
    fail(world)
    assert "authenticate" in world.audited("unknown")


def entity(name: str, **fields: object) -> EndEntity:
    return EndEntity(
        name=name,
        status=EntityStatus.NEW,
        created=START,
        **fields,  # type: ignore[arg-type]
    )


@pytest.mark.requirement("ENG-29")
def test_a_bulk_load_is_all_or_nothing(world: World) -> None:
    load = world.engine.administration.import_entities
    good = [entity(f"unit-{number}", subject="CN=u") for number in range(50)]
    bad = [*good, entity("unit-3"), entity("odd", alternative_names=("nonsense",))]
    result = result_of(load(bad, dry_run=False, actor=OPERATOR, context=CMP))
    assert result.added == 0
    assert len(result.faults) == 2
    assert result_of(world.store.find_entity("unit-0")) is None
    dry = result_of(load(good, dry_run=True, actor=OPERATOR, context=CMP))
    assert (dry.added, dry.faults) == (50, ())
    assert result_of(world.store.find_entity("unit-0")) is None
    result_of(load(good, dry_run=False, actor=OPERATOR, context=CMP))
    assert result_of(world.store.find_entity("unit-49")) is not None
    again = result_of(load(good, dry_run=False, actor=OPERATOR, context=CMP))
    assert len(again.faults) == 50


@pytest.mark.requirement("CMP-37", "SEC-05")
def test_a_known_reference_costs_as_many_commits_as_an_unknown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.secret()
    known = find(world).credential
    commits: list[int] = []
    real = world.store.commit

    def counted(*writes: Write) -> Deferred[None]:
        commits.append(len(writes))
        return real(*writes)

    monkeypatch.setattr(world.store, "commit", counted)
    for credential in (known, None):
        failure = AuthenticationFailure(
            error=PKIError(ErrorCode.BAD_MESSAGE_CHECK, "wrong MAC"),
            context=CMP,
            alias="default",
            actor="unknown",
            credential=credential,
        )
        result_of(world.engine.report_failure(failure))
    assert len(commits) == 2
