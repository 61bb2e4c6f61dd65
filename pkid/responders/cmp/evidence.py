"""All that looks at how a request shows possession of its key."""

from __future__ import annotations

from dataclasses import dataclass

from pkid.asn1 import oids
from pkid.engine.ports import Workers
from pkid.messages.crmf import CertReqMsg, POPOSigningKey
from pkid.responders.cmp.archiving import Archiving
from pkid.responders.cmp.challenges import Challenges
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.originals import Originals
from pkid.responders.cmp.possession import KeyProofs


@dataclass(frozen=True, slots=True)
class Evidence:
    """The ways to prove possession that are more than a signature."""

    challenges: Challenges
    key_proofs: KeyProofs
    archiving: Archiving
    originals: Originals


def is_plain_signature(message: CertReqMsg) -> bool:
    """Whether possession is shown as nearly all do it: by a signature."""
    popo = message.popo
    return (
        isinstance(popo, POPOSigningKey) and popo.algorithm.oid != oids.ID_DH_BASED_MAC
    )


def evidence(engine: Engine, workers: Workers, challenges: Challenges) -> Evidence:
    """Put them together."""
    key_proofs = KeyProofs(engine, workers)
    return Evidence(
        challenges,
        key_proofs,
        Archiving(engine, key_proofs),
        Originals(engine, workers),
    )
