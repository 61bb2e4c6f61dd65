"""All that looks at how a request shows possession of its key."""

from __future__ import annotations

from dataclasses import dataclass

from pkid.engine.ports import Workers
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


def evidence(engine: Engine, workers: Workers, challenges: Challenges) -> Evidence:
    """Put them together."""
    key_proofs = KeyProofs(engine, workers)
    return Evidence(
        challenges,
        key_proofs,
        Archiving(engine, key_proofs, workers),
        Originals(engine, workers),
    )
