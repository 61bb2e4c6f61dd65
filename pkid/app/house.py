"""Store, keys and engine, opened in order and closed in the opposite one."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from pkid.app.passphrase import kept_passphrase
from pkid.app.resources import KEY_DIRECTORY
from pkid.engine.aliases import Policies
from pkid.engine.authority import CertificateAuthority
from pkid.engine.rooms import Suppliers
from pkid.errors import PKIError
from pkid.keys.file import FileKeyStore
from pkid.keys.secrets import Secret
from pkid.keys.threads import KeyThreads
from pkid.storage.filestore import FileStore
from pkid.storage.published import PublishedDirectory

PUBLISHED_DIRECTORY: Final = "published"


class Threads(Protocol):
    """The part of the reactor that threads call back through."""

    def callFromThread(  # noqa: N802 - Twisted's name
        self,
        callable: Callable[[], None],  # noqa: A002 - Twisted's name
    ) -> object:
        """Call in the reactor thread."""
        ...


class SystemClock:
    """The one source of time."""

    def now(self) -> datetime:
        """Wall time, aware and in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only ever rise."""
        return time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Everything behind the doors.

    :ivar published: the directory of public files.
    """

    store: FileStore
    keys: FileKeyStore
    workers: KeyThreads
    engine: CertificateAuthority
    publisher: PublishedDirectory
    published: Path
    clock: SystemClock

    async def close(self) -> None:
        """Answer what waits, then let go of files, threads and lock."""
        await self.store.close()
        self.workers.stop()


async def open_house(
    state: Path,
    *,
    passphrase: Secret | None,
    published: str,
    policies: Callable[[], Policies],
    reactor: Threads,
    on_fatal: Callable[[PKIError], None],
) -> House:
    """Open the state directory, making what is missing.

    :param passphrase: of the keys; None for the one beside them.
    :param published: directory of public files; "" for the one in ``state``.
    :param on_fatal: called when the disk failed: the process has to end.
    :raises PKIError: ``UNAVAILABLE`` with a hint, nothing is left open.
    """
    store = FileStore.open(
        state, call_in_reactor=reactor.callFromThread, on_fatal=on_fatal
    )
    workers = KeyThreads(reactor.callFromThread)
    try:
        keys = FileKeyStore(
            state / KEY_DIRECTORY,
            passphrase=passphrase or kept_passphrase(state / KEY_DIRECTORY),
            workers=workers,
        )
        clock = SystemClock()
        suppliers = Suppliers(
            store=store,
            keys=keys,
            box=await keys.secret_box(),
            clock=clock,
            workers=workers,
            random=secrets.token_bytes,
        )
        engine = CertificateAuthority(suppliers, policies)
        await engine.open()
    except BaseException:
        workers.stop()
        await store.close()
        raise
    directory = state / (published or PUBLISHED_DIRECTORY)
    return House(
        store=store,
        keys=keys,
        workers=workers,
        engine=engine,
        publisher=PublishedDirectory(directory, workers),
        published=directory,
        clock=clock,
    )
