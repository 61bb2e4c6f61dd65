"""The daemon at work: engine, responders, loops and the control socket together."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from pkid.app.acmeactions import ACMEDesk
from pkid.app.actions import Desk
from pkid.app.announcing import Announcements
from pkid.app.authorityactions import AuthorityDesk
from pkid.app.control import ControlResponder, ControlSocket
from pkid.app.controlling import outside_view
from pkid.app.firstrun import FirstRun
from pkid.app.health import OperationsResponder
from pkid.app.house import House, open_house
from pkid.app.identities import (
    INTERNAL,
    ISSUING,
    make_authorities,
    prepare_cmp_keys,
    prepare_exchanges,
    prepare_key_generators,
    prepare_ocsp,
    prepare_signers,
    tls_credentials,
)
from pkid.app.leaving import STATUS_DISK, end_now, is_terminal, tell
from pkid.app.listening import Listeners, encode_listeners
from pkid.app.loops import Chore, Loop
from pkid.app.publishers import PublisherMaterial, Publishers
from pkid.app.resources import SOCKET
from pkid.app.serving import Rooms, acme_bases, find_doors, serve
from pkid.app.settings import Configuration
from pkid.app.tlscontexts import TLSContexts
from pkid.app.upstreams import UpstreamMaterial, Upstreams
from pkid.app.validators import ValidatorMaterial, Validators
from pkid.engine.aliases import Policies
from pkid.errors import PKIError
from pkid.keys.secrets import Secret
from pkid.responders.acme.responder import ACMEResponder
from pkid.responders.base import Responder
from pkid.responders.cmp.responder import CMPResponder
from pkid.responders.est.responder import ESTResponder
from pkid.responders.scep.ndes import NDESResponder
from pkid.responders.scep.responder import SCEPResponder
from pkid.responders.status.responder import StatusResponder
from pkid.storage.directory import make_private_directory, write_atomically

RUN_DIRECTORY: Final = "run"
LISTENERS_FILE: Final = "listeners.json"
FIRST_ALIAS: Final = "default"
HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Where and as what we run.

    :ivar snapshot: the configuration of the moment, and the engine's view of it.
    :ivar upstreams: the CAs elsewhere of the moment.
    :ivar validators: the services that know challenges, of the moment.
    :ivar publishers: the web services that get public files, of the moment.
    """

    state: Path
    reactor: Any
    listeners: Listeners
    snapshot: Callable[[], tuple[Configuration, Policies]]
    upstreams: Callable[[], Mapping[str, UpstreamMaterial]] = dict
    validators: Callable[[], Mapping[str, ValidatorMaterial]] = dict
    publishers: Callable[[], Mapping[str, PublisherMaterial]] = dict

    def configuration(self) -> Configuration:
        """The configuration of the moment."""
        return self.snapshot()[0]

    def policies(self) -> Policies:
        """The engine's view of it."""
        return self.snapshot()[1]


class Running:
    """Use `open`; the constructor takes what it has opened."""

    _log = Logger()

    def __init__(self, situation: Situation, house: House) -> None:
        self._situation = situation
        self._house = house
        self._first_run = FirstRun(situation.state)
        self._upstreams = Upstreams(
            house,
            situation.state,
            configuration=situation.configuration,
            materials=situation.upstreams,
            reactor=situation.reactor,
        )
        self._announcements = Announcements(
            house, situation.configuration, situation.reactor
        )
        self._cmp = CMPResponder(
            house.engine,
            lambda: situation.configuration().cmp_aliases,
            policies=situation.policies,
            clock=house.clock,
            workers=house.workers,
            upstreams=self._upstreams.current,
        )
        self._validators = Validators(
            situation.reactor, house.clock, situation.validators
        )
        self._publishers = Publishers(
            situation.reactor, house.clock, house.publisher, situation.publishers
        )
        self._tls = TLSContexts(situation.state, os.environ)
        self._acme = ACMEResponder(
            house.engine,
            lambda: situation.configuration().acme_aliases,
            policies=situation.policies,
            prover=outside_view(
                situation.reactor, lambda: situation.configuration().validation
            ),
            bases=self._acme_bases,
            clock=house.clock,
        )
        self._loops: list[Loop] = []
        self._control = ControlSocket(situation.state / SOCKET, situation.reactor)

    @classmethod
    async def open(cls, situation: Situation, passphrase: Secret | None) -> Running:
        """Open the state directory, make what a first start makes, and serve.

        :raises PKIError: with a hint; nothing is left open.
        """
        configuration = situation.configuration()
        house = await open_house(
            situation.state,
            passphrase=passphrase,
            published=configuration.storage.published,
            policies=situation.policies,
            reactor=situation.reactor,
            on_fatal=_disk_failed,
        )
        running = cls(situation, house)
        try:
            await running._begin()
        except BaseException:
            await running.close()
            raise
        return running

    async def _begin(self) -> None:
        configuration = self._situation.configuration()
        engine = self._house.engine
        if not self._first_run.is_done:
            await make_authorities(self._house, configuration.keys.authority_key)
        await self._begin_identities()
        if not self._first_run.is_done:
            await self._first_run.prepare(
                self._house, authority=self._authority(), alias=""
            )
        await engine.expire_unconfirmed()
        await engine.refresh_crls()
        await engine.publication.retain(self._publishers.names())
        await self._publishers.publish_files(engine)
        await self._upstreams.prepare()
        self._serve()
        self._control.open(self._control_responder(), self._house.clock.now)
        self._start_loops()

    # --- own certificates ---------------------------------------------------------

    async def _begin_identities(self) -> None:
        try:
            await self._renew()
        except PKIError as error:
            if self._house.engine.clock_guard.jump is None:
                raise
            # A person has to look at the clock, and reaches us through the socket.
            self._log.critical(
                "nothing is issued, own certificates neither: {detail} ({hint})",
                detail=error.detail,
                hint=error.hint or "",
            )

    async def adopt(self) -> None:
        """Carry out what a new configuration asks of us."""
        await self._renew()
        names = self._publishers.names()
        await self._house.engine.publication.retain(names)
        await self._upstreams.prepare()

    async def _renew(self) -> int:
        configuration = self._situation.configuration()
        entrances = tuple(configuration.entrances())
        await prepare_signers(self._house, {one.authority for one in entrances})
        await prepare_key_generators(self._house, entrances)
        await prepare_cmp_keys(self._house, configuration.cmp_aliases.values())
        await prepare_ocsp(self._house)
        await prepare_exchanges(self._house, configuration.scep_aliases.values())
        if any(one.tls for one in configuration.listeners.values()):
            credentials = await tls_credentials(
                self._house,
                authority=self._authority(),
                public_url=configuration.general.public_url,
            )
            self._tls.adopt(configuration.listeners, credentials)
        return 0

    def _authority(self) -> str:
        """The authority of our own certificates: the first alias's that is there."""
        known = self._house.engine.authority_names()
        aliases = self._situation.configuration().cmp_aliases
        wanted = [ISSUING, *(alias.alias.authority for alias in aliases.values())]
        return next((name for name in wanted if name in known), ISSUING)

    # --- doors --------------------------------------------------------------------

    def _serve(self) -> None:
        configuration = self._situation.configuration()
        listeners = self._situation.listeners
        rooms = Rooms(
            house=self._house,
            admission=listeners.admission,
            responders=self._responders(),
            tls=self._tls,
        )
        serve(listeners, configuration.listeners, rooms)
        listeners.open()
        addresses = listeners.addresses()
        run = self._situation.state / RUN_DIRECTORY
        make_private_directory(run)
        write_atomically(
            run / LISTENERS_FILE, encode_listeners(configuration.listeners, addresses)
        )
        doors = find_doors(
            configuration.listeners,
            addresses,
            alias=self._first_alias(),
            public_url=configuration.general.public_url,
        )
        crl_file = self._house.published / "crls" / f"{self._authority()}.crl"
        text = self._first_run.complete(replace(doors, crl_file=str(crl_file)))
        if text and is_terminal():
            tell(f"\n{text}\n")

    def _acme_bases(self) -> frozenset[str]:
        configuration = self._situation.configuration()
        return acme_bases(
            configuration.listeners,
            self._situation.listeners.addresses(),
            configuration.general.public_url,
        )

    def _first_alias(self) -> str:
        aliases = self._situation.configuration().cmp_aliases
        return FIRST_ALIAS if FIRST_ALIAS in aliases else next(iter(aliases), "")

    def _responders(self) -> dict[str, Responder]:
        situation = self._situation
        return {
            "cmp": self._cmp,
            "est": ESTResponder(
                self._house.engine,
                lambda: situation.configuration().est_aliases,
                policies=situation.policies,
                clock=self._house.clock,
            ),
            "scep": SCEPResponder(
                self._house.engine,
                lambda: situation.configuration().scep_aliases,
                validators=self._validators.current,
                clock=self._house.clock,
                workers=self._house.workers,
            ),
            "acme": self._acme,
            "ndes": NDESResponder(
                self._house.engine,
                lambda: situation.configuration().scep_aliases,
                clock=self._house.clock,
            ),
            "status": StatusResponder(self._house.engine, self._house.clock),
            "operations": OperationsResponder(self._parts),
        }

    def _parts(self) -> dict[str, bool]:
        return {
            "authority": self._authority() in self._house.engine.authority_names(),
            "clock": self._house.engine.clock_guard.jump is None,
            "periodic work": not any(loop.failing for loop in self._loops),
        }

    def _control_responder(self) -> ControlResponder:
        desk = Desk(
            self._house,
            configuration=self._situation.configuration,
            policies=self._situation.policies,
            warnings=self._warnings,
            renew=self._renew,
        )
        authorities = AuthorityDesk(self._house.engine, self._renew)
        acme = ACMEDesk(self._house)
        return ControlResponder(
            self._house.store,
            {**desk.actions(), **authorities.actions(), **acme.actions()},
        )

    def _warnings(self) -> list[str]:
        configuration = self._situation.configuration()
        beyond = any(one.beyond_loopback for one in configuration.listeners.values())
        found = []
        if beyond and self._first_run.is_there:
            found.append(
                f"{self._first_run.directory} holds secrets in the clear, and a"
                " listener can be reached from other hosts: move it away"
            )
        if os.geteuid() == 0:
            found.append("the daemon runs as root")
        jump = self._house.engine.clock_guard.jump
        if jump is not None:
            found.append(
                f"the clock jumped by {jump}: nothing is issued until"
                " pkid clock confirm"
            )
        found += self._upstreams.warnings()
        found += [f"{loop.name} does not work" for loop in self._loops if loop.failing]
        return found

    # --- periodic work ------------------------------------------------------------

    def _start_loops(self) -> None:
        for chore in self._chores():
            loop = Loop(chore, self._situation.reactor)
            self._loops.append(loop)
            loop.start()

    def _chores(self) -> tuple[Chore, ...]:
        engine = self._house.engine
        return (
            Chore("expiry of unconfirmed certificates", 5, engine.expire_unconfirmed),
            Chore("renewal of revocation lists", 5, engine.refresh_crls),
            Chore("questions to CAs elsewhere", 1, self._cmp.advance_elsewhere),
            Chore("announcements by CMP", 5, self._announcements.announce),
            Chore("certificates before CAs elsewhere", 5, self._upstreams.prepare),
            Chore("OCSP signers of new authorities", 5, self._refresh_ocsp),
            Chore("publication", 5, lambda: self._publishers.publish_files(engine)),
            Chore(
                "publication elsewhere",
                5,
                lambda: self._publishers.publish_elsewhere(engine),
            ),
            Chore("orders that were approved", 2, self._acme.orders.settle),
            Chore("removal of old orders", 60, self._sweep_orders),
            Chore("expiry of approval requests", 60, engine.expire_requests),
            Chore("signature of the audit head", 60, self._checkpoint),
            Chore("removal of old transactions", 60, engine.sweep_transactions),
            Chore("renewal of own certificates", HOUR, self._renew),
            Chore("rotation of TLS ticket keys", 12 * HOUR, self._rotate),
        )

    def _refresh_ocsp(self) -> Awaitable[int]:
        return self._house.engine.status.refresh(INTERNAL)

    def _checkpoint(self) -> Awaitable[int]:
        return self._house.engine.checkpoint_audit(self._authority())

    async def _sweep_orders(self) -> int:
        await self._house.engine.accounts.sweep()
        return 1

    async def _rotate(self) -> int:
        self._tls.rotate()
        return 0

    # --- the end ------------------------------------------------------------------

    async def close(self) -> None:
        """End periodic work, let the tool's calls finish, close the store."""
        self._upstreams.close()
        waiting: list[Deferred[Any]] = [loop.stop() for loop in self._loops]
        waiting.append(self._control.close())
        await DeferredList(waiting, consumeErrors=True)
        await self._house.close()


def _disk_failed(error: PKIError) -> None:
    Running._log.critical(
        "the disk failed, pkid ends at once: {detail} ({hint})",
        detail=error.detail,
        hint=error.hint or "",
    )
    tell(f"pkid: {error.detail}\n", error=True)
    end_now(STATUS_DISK)
