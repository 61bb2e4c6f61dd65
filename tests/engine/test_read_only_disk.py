"""A disk that takes nothing while the daemon runs: nothing is issued, all is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pkid.engine.model import RevocationReason
from pkid.engine.revocation import RevocationRequest
from pkid.errors import ErrorCode, PKIError
from tests.engine.world import CMP, OPERATOR_REQUESTER, World, result_of


@contextmanager
def read_only(world: World) -> Iterator[None]:
    """SQLite refuses every write as it does on a read-only file system."""
    connection = world.store._writing
    connection.execute("PRAGMA query_only = ON")
    try:
        yield
    finally:
        connection.execute("PRAGMA query_only = OFF")


@pytest.mark.requirement("FLT-09")
def test_a_read_only_disk_stops_writing_not_reading_and_ends_by_itself(
    world: World,
) -> None:
    known = world.issue(world.request(world.secret("device-1")))
    requester = world.secret("device-2")
    asked = world.request(requester, subject="CN=device-2")
    revocation = RevocationRequest(
        reference=known.certificate.reference,
        reason=RevocationReason.SUPERSEDED,
        requester=OPERATOR_REQUESTER,
        context=CMP,
    )
    crl = result_of(world.engine.latest_crl("issuing"))
    with read_only(world):
        for attempt in (
            lambda: world.issue(asked),
            lambda: result_of(world.engine.revoke(revocation)),
        ):
            with pytest.raises(PKIError) as caught:
                attempt()
            assert caught.value.code is ErrorCode.UNAVAILABLE
            assert caught.value.retry_after
        assert world.record(known) == known.certificate
        assert result_of(world.engine.latest_crl("issuing")) == crl
    assert world.issue(asked).der
    result_of(world.engine.revoke(revocation))
