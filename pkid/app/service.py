"""The daemon: what is opened when, what happens on SIGHUP, how it ends.

twistd calls in this order: makeService, fork, privilegedStartService, drop of
privileges, startService. Ports are bound and secrets read while we may; everything
else is opened as the user that we end up as.

**Source:** DESIGN sections 7 and 8; FLT-05, FLT-07, FLT-10, FLT-20, FLT-33.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from pkid.app.hardening import close_to_others, forbid_dumps, is_root
from pkid.app.kinds import ConfigurationError
from pkid.app.leaving import STATUS_FAULT, stop_with, tell
from pkid.app.listening import Listeners, ListeningError
from pkid.app.logging import LineObserver
from pkid.app.passphrase import resolve_passphrase
from pkid.app.publishers import PublisherMaterial, read_publishers
from pkid.app.running import Running, Situation
from pkid.app.settings import Configuration
from pkid.app.snapshot import make_policies
from pkid.app.upstreams import UpstreamMaterial, read_upstreams
from pkid.app.validators import ValidatorMaterial, read_validators
from pkid.engine.aliases import Policies
from pkid.errors import PKIError
from pkid.keys.secrets import Secret
from pkid.storage.directory import DirectoryLock
from pkid.transports.limits import Admission

STOP_SECONDS: Final = 10.0
_NEED_RESTART: Final = ("listeners", "limits", "storage")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One configuration and what the engine sees of it."""

    configuration: Configuration
    policies: Policies
    upstreams: Mapping[str, UpstreamMaterial]
    validators: Mapping[str, ValidatorMaterial]
    publishers: Mapping[str, PublisherMaterial]


class PKIDService(Service):
    """The one service of the application.

    :param state: the state directory, absolute.
    :param configuration: as it was read at start.
    :param load: reads it again.
    :param observer: the log; its level follows the configuration.
    :param reactor: twistd's.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        state: Path,
        configuration: Configuration,
        load: Callable[[], Configuration],
        observer: LineObserver,
        reactor: Any,  # noqa: ANN401 - twistd's reactor has no one interface
    ) -> None:
        self._state = state
        self._configuration = configuration
        self._load = load
        self._observer = observer
        self._reactor = reactor
        self._snapshot: Snapshot | None = None
        self._passphrase: Secret | None = None
        self._listeners: Listeners | None = None
        self._running: Running | None = None
        self._starting: Deferred[None] | None = None

    def setServiceParent(  # noqa: N802 - Twisted's name
        self,
        parent: Any,  # noqa: ANN401
    ) -> None:
        """Give the application our log before twistd asks for one."""
        if isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)  # type: ignore[no-untyped-call] # Twisted

    # --- start --------------------------------------------------------------------

    def privilegedStartService(self) -> None:  # noqa: N802 - Twisted's name
        """Bind ports, and read what only root may be able to read.

        :raises SystemExit: with the reason, status 1.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call] # Twisted
        close_to_others()
        configuration = self._configuration
        try:
            self._check_alone()
            self._passphrase = resolve_passphrase(
                configuration.keys.passphrase, os.environ, base=self._state
            )
            self._snapshot = self._read(configuration)
            admission = Admission(self._reactor, configuration.limits)
            self._listeners = Listeners(self._reactor, admission)
            self._listeners.bind(configuration.listeners.values())
        except (ConfigurationError, ListeningError) as error:
            self._refuse(str(error))
        except PKIError as error:
            self._refuse(_sentence(error))

    def _read(self, configuration: Configuration) -> Snapshot:
        """A configuration with the files and the secrets that it names."""
        return Snapshot(
            configuration,
            make_policies(configuration, base=self._state),
            read_upstreams(configuration, base=self._state, environment=os.environ),
            read_validators(configuration, base=self._state, environment=os.environ),
            read_publishers(configuration, base=self._state, environment=os.environ),
        )

    def _check_alone(self) -> None:
        """Say that a daemon runs here before its ports are found to be in use."""
        if self._state.is_dir():
            DirectoryLock(self._state).release()

    def _refuse(self, reason: str) -> None:
        self._log.critical("pkid does not start: {reason}", reason=reason)
        tell(f"pkid: {reason}\n", error=True)
        raise SystemExit(STATUS_FAULT)

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Open everything else; ports answer when that is done."""
        super().startService()  # type: ignore[no-untyped-call] # Twisted
        forbid_dumps()
        signal.signal(signal.SIGHUP, self._hang_up)
        if is_root():
            self._log.warn(
                "pkid runs as root: good for a try-out, otherwise use --uid and --gid"
            )
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._start_failed)

    async def _start(self) -> None:
        if self._listeners is None:
            raise RuntimeError("privilegedStartService was not called")
        situation = Situation(
            state=self._state,
            reactor=self._reactor,
            listeners=self._listeners,
            snapshot=self._current,
            upstreams=self._upstreams,
            validators=self._validators,
            publishers=self._publishers,
        )
        self._running = await Running.open(situation, self._passphrase)
        self._passphrase = None
        if not self.running:
            await self._running.close()

    def _current(self) -> tuple[Configuration, Policies]:
        if self._snapshot is None:
            raise RuntimeError("there is no configuration yet")
        return self._snapshot.configuration, self._snapshot.policies

    def _upstreams(self) -> Mapping[str, UpstreamMaterial]:
        return {} if self._snapshot is None else self._snapshot.upstreams

    def _validators(self) -> Mapping[str, ValidatorMaterial]:
        return {} if self._snapshot is None else self._snapshot.validators

    def _publishers(self) -> Mapping[str, PublisherMaterial]:
        return {} if self._snapshot is None else self._snapshot.publishers

    def _start_failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, PKIError):
            reason = _sentence(error)
            self._log.critical("pkid does not start: {reason}", reason=reason)
        else:
            reason = "an error that should not be; see the log"
            self._log.failure("pkid does not start", failure=failure)
        tell(f"pkid: {reason}\n", error=True)
        stop_with(self._reactor, STATUS_FAULT)

    # --- reload -------------------------------------------------------------------

    def _hang_up(self, _signal: int, _frame: object) -> None:
        self._reactor.callFromThread(self.reload)

    def reload(self) -> Deferred[bool]:
        """Read the configuration again; whether it was taken."""
        return Deferred.fromCoroutine(self._reload())

    async def _reload(self) -> bool:
        if self._running is None or self._snapshot is None:
            self._log.warn("not started yet: the configuration is not read again")
            return False
        before = self._snapshot
        try:
            configuration = self._kept(self._load(), before.configuration)
            self._snapshot = self._read(configuration)
            await self._running.adopt()
        except ConfigurationError as error:
            self._snapshot = before
            for fault in error.faults:
                self._log.error(
                    "the configuration was not taken: {fault}", fault=str(fault)
                )
            return False
        except PKIError as error:
            self._snapshot = before
            self._log.error(
                "the configuration was not taken: {fault}", fault=_sentence(error)
            )
            return False
        self._observer.level = configuration.log.level
        self._log.info(
            "the configuration was read again from {source}",
            source=configuration.source,
        )
        return True

    def _kept(self, new: Configuration, old: Configuration) -> Configuration:
        """The new configuration with the old values of what needs a restart."""
        for name in _NEED_RESTART:
            if getattr(new, name) != getattr(old, name):
                self._log.warn("restart needed: {part} changed", part=name)
        if (new.keys.passphrase, new.keys.authority_key) != (
            old.keys.passphrase,
            old.keys.authority_key,
        ):
            self._log.warn("restart needed: {part} changed", part="keys")
        if (new.log.file, new.log.form) != (old.log.file, old.log.form):
            self._log.warn("restart needed: {part} changed", part="log")
        kept = {name: getattr(old, name) for name in _NEED_RESTART}
        return replace(new, **kept)

    # --- stop ---------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:  # noqa: N802 - Twisted's name
        """Stop accepting, finish answers (ten seconds at most), close the store."""
        super().stopService()  # type: ignore[no-untyped-call] # Twisted
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._listeners is not None:
            draining = self._listeners.close()
            draining.addTimeout(STOP_SECONDS, self._reactor, _cut_off)
            await draining
        running, self._running = self._running, None
        if running is not None:
            await running.close()


def _cut_off(_value: object, _seconds: float) -> None:
    PKIDService._log.warn("some answers were not finished in time")


def _sentence(error: PKIError) -> str:
    return f"{error.detail} ({error.hint})" if error.hint else error.detail
