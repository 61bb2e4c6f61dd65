"""What the engine is made of: every part, and which parts it leans on.

`pkid.engine.authority` adds the doors. Parts are made in the order in which they lean
on each other; nothing is opened here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pkid.engine.accounts import Accounts
from pkid.engine.administration import Administration
from pkid.engine.aliases import Policies
from pkid.engine.authorities import (
    Authorities,
)
from pkid.engine.challenges import PageChallenges
from pkid.engine.clockguard import ClockGuard
from pkid.engine.creation import (
    Creation,
)
from pkid.engine.credentials import (
    OpenedSecrets,
)
from pkid.engine.crl import RevocationLists
from pkid.engine.elsewhere import Elsewhere
from pkid.engine.enrollment import Enrollment
from pkid.engine.exchange import ExchangeIdentities
from pkid.engine.externalissuer import ExternalIssuer
from pkid.engine.identification import Identification
from pkid.engine.keyarchive import KeyArchive
from pkid.engine.keygenerators import KeyGenerators
from pkid.engine.keyreceivers import KeyReceivers
from pkid.engine.ocsp import StatusAnswers
from pkid.engine.passphrases import Passphrases
from pkid.engine.ports import (
    Clock,
    KeyStore,
    SecretBox,
    Store,
    Workers,
)
from pkid.engine.publication import Publication
from pkid.engine.refusals import RefusalLimiter
from pkid.engine.rollover import Rollover
from pkid.engine.sealing import StateSealing


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppliers:
    """What the engine runs on.

    :ivar random: octets from the system's CSPRNG.
    """

    store: Store
    keys: KeyStore
    box: SecretBox
    clock: Clock
    workers: Workers
    random: Callable[[int], bytes] = field(repr=False)


class Rooms:
    """The parts; what has no underscore is for every door.

    Methods that read are coroutines everywhere: run them with
    `pkid.engine.authority.CertificateAuthority.run`.

    :ivar administration: what operators do.
    :ivar elsewhere: transactions that another CA decides upon.
    :ivar challenges: SCEP challenges for a page.
    :ivar exchange: the identities that open requests which are encrypted to us.
    :ivar accounts: accounts, their orders and what they have proven.
    :ivar external_issuer: CAs that another PKI certifies.
    :ivar rollover: new keys and certificates of CAs.
    :ivar key_generators: the identities that sign keys made for others.
    :ivar key_archive: seals private keys, and opens them for their owners.
    :ivar key_receivers: the identities to which clients encrypt by RSA.
    :ivar sealing: seals secrets that a protocol keeps in its transactions.
    :ivar passphrases: keeps revocation passphrases.
    :ivar clock_guard: whether the clock jumped (`ClockGuard.jump`).
    :ivar crls: CRLs.
    :ivar status: answers of OCSP.
    """

    def __init__(self, suppliers: Suppliers, policies: Callable[[], Policies]) -> None:
        self._suppliers = suppliers
        self._store = suppliers.store
        self._clock = suppliers.clock
        self._policies = policies
        self._authorities = Authorities(suppliers.store, suppliers.keys)
        self._identification = Identification(suppliers.store, self._authorities.line)
        self._secrets = OpenedSecrets(suppliers.box)
        self._refusals = RefusalLimiter(suppliers.clock)
        self.clock_guard = ClockGuard(suppliers.clock)
        self._build_path(suppliers)
        self._build_status(suppliers)
        self._build_authorities(suppliers)
        self._build_keys(suppliers)
        self._build_doors(suppliers)

    def _build_path(self, suppliers: Suppliers) -> None:
        """The one path, and what goes down it for the daemon itself."""
        self.key_archive = KeyArchive(
            store=suppliers.store,
            keys=suppliers.keys,
            clock=suppliers.clock,
            random=suppliers.random,
        )
        self._enrollment = Enrollment(
            store=suppliers.store,
            keys=suppliers.keys,
            archive=self.key_archive,
            authorities=self._authorities,
            policies=self._policies,
            clock=suppliers.clock,
            clock_guard=self.clock_guard,
            random=suppliers.random,
        )
        self._creation = Creation(
            store=suppliers.store,
            keys=suppliers.keys,
            authorities=self._authorities,
            enrollment=self._enrollment,
            clock=suppliers.clock,
            random=suppliers.random,
        )

    def _build_status(self, suppliers: Suppliers) -> None:
        """What tells relying parties of certificates."""
        self.publication = Publication(suppliers.store, suppliers.clock)
        self.crls = RevocationLists(
            store=suppliers.store,
            workers=suppliers.workers,
            authorities=self._authorities,
            policies=self._policies,
            clock=suppliers.clock,
        )
        self.status = StatusAnswers(
            store=suppliers.store,
            keys=suppliers.keys,
            authorities=self._authorities,
            creation=self._creation,
            policies=self._policies,
            clock=suppliers.clock,
        )

    def _build_authorities(self, suppliers: Suppliers) -> None:
        """CAs: ours beyond their first key, and those of others."""
        self.external_issuer = ExternalIssuer(
            store=suppliers.store,
            keys=suppliers.keys,
            authorities=self._authorities,
            clock=suppliers.clock,
        )
        self.rollover = Rollover(
            store=suppliers.store,
            authorities=self._authorities,
            creation=self._creation,
            clock=suppliers.clock,
        )
        self.elsewhere = Elsewhere(
            store=suppliers.store,
            keys=suppliers.keys,
            authorities=self._authorities,
            handing_on=self._enrollment.handing_on,
            clock=suppliers.clock,
        )

    def _build_keys(self, suppliers: Suppliers) -> None:
        """Identities whose keys do other work than to sign messages."""
        self.exchange = ExchangeIdentities(
            store=suppliers.store,
            keys=suppliers.keys,
            authorities=self._authorities,
            creation=self._creation,
            clock=suppliers.clock,
        )
        self.key_receivers = KeyReceivers(
            keys=suppliers.keys,
            authorities=self._authorities,
            creation=self._creation,
        )
        self.key_generators = KeyGenerators(
            keys=suppliers.keys,
            authorities=self._authorities,
            creation=self._creation,
        )

    def _build_doors(self, suppliers: Suppliers) -> None:
        """What operators and single protocols use."""
        self.administration = Administration(
            store=suppliers.store,
            box=suppliers.box,
            enrollment=self._enrollment,
            policies=self._policies,
            clock=suppliers.clock,
            random=suppliers.random,
        )
        self.sealing = StateSealing(suppliers.box)
        self.passphrases = Passphrases(
            suppliers.store, suppliers.box, suppliers.clock, suppliers.random
        )
        self.accounts = Accounts(suppliers.store, suppliers.clock)
        self.challenges = PageChallenges(
            suppliers.store, self.administration, suppliers.clock
        )
