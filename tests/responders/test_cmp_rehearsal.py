"""The dry run says what protects a message, and whether the entrance takes that."""

from __future__ import annotations

from typing import Any

import pytest

from pkid.app.rehearsal import rehearse
from pkid.asn1 import oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.engine.aliases import Authentication
from pkid.responders.cmp.aliases import CMPAlias
from tests.responders.bending import sent
from tests.responders.desk import Desk

TAKEN, REFUSED = "accepted, not verified", "refused"
DH = AlgorithmIdentifier(oids.ID_DH_BASED_MAC)
KEM = AlgorithmIdentifier(oids.ID_KEM_BASED_MAC)
BARE = AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256)
SIGNATURE = AlgorithmIdentifier(oids.ECDSA_WITH_SHA256)


def shown(desk: Desk, settings: dict[str, Any], **header: Any) -> dict[str, Any]:
    chain = desk.world.engine.chain("issuing")
    view = rehearse(
        sent(desk, **header).octets,
        CMPAlias(alias=desk.world.alias, **settings),
        policies=desk.world.policies,
        issuer=chain[0],
        now=desk.world.clock.now(),
    )
    return dict(view)


@pytest.mark.parametrize(
    ("settings", "header", "kind", "verdict"),
    [
        ({}, {}, "mac", TAKEN),
        ({}, {"protection_alg": BARE}, "mac", TAKEN),
        ({}, {"protection_alg": SIGNATURE}, "signature", TAKEN),
        ({}, {"protection_alg": DH}, "agreement", REFUSED),
        ({"agreement": True}, {"protection_alg": DH}, "agreement", TAKEN),
        ({}, {"protection_alg": KEM}, "kem", REFUSED),
        ({"kem": True}, {"protection_alg": KEM}, "kem", TAKEN),
        ({}, {"protected": False}, "none", REFUSED),
        ({"unprotected_requests": True}, {"protected": False}, "none", TAKEN),
    ],
    ids=[
        "pbm",
        "hmac",
        "signature",
        "dh-off",
        "dh-on",
        "kem-off",
        "kem-on",
        "nothing",
        "nothing-wanted",
    ],
)
def test_the_kind_of_protection_and_what_the_entrance_thinks_of_it(
    desk: Desk,
    settings: dict[str, Any],
    header: dict[str, Any],
    kind: str,
    verdict: str,
) -> None:
    view = shown(desk, settings, **header)
    assert view["protection"] == kind
    assert view["authentication"] == verdict


def test_an_entrance_for_certificates_alone_takes_no_bare_key(desk: Desk) -> None:
    desk.world.change_alias(authenticate=frozenset((Authentication.CERTIFICATE,)))
    view = shown(desk, {}, protection_alg=BARE)
    assert view["authentication"] == REFUSED
