"""Whom public files go to: the served directory, and web services of the configuration.

**Source:** DESIGN sections 7 and 9; ENG-34.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pkid.app.kinds import ConfigurationError, Faults
from pkid.app.settings import Configuration, PublisherSettings
from pkid.app.snapshot import read_certificates
from pkid.engine.authority import CertificateAuthority
from pkid.engine.ports import Clock, Publisher
from pkid.errors import PKIError
from pkid.keys.secrets import SecretReference
from pkid.publishers.webhook import WebhookPublisher
from pkid.transports.agents import make_agent

DIRECTORY: Final = "directory"
_WEBHOOK: Final = "webhook:"


@dataclass(frozen=True, slots=True)
class PublisherMaterial:
    """One web service, with the secret and the file that its settings name.

    :ivar roots: DER of the roots that its TLS certificate is checked against.
    """

    settings: PublisherSettings
    secret: bytes = field(default=b"", repr=False)
    roots: tuple[bytes, ...] = ()


def read_publishers(
    configuration: Configuration, *, base: Path, environment: Mapping[str, str]
) -> dict[str, PublisherMaterial]:
    """Read what the settings of the publishers name.

    :param base: directory that relative paths start from.
    :raises ConfigurationError: with every secret and file that cannot be used.
    """
    faults = Faults()
    found: dict[str, PublisherMaterial] = {}
    for name, settings in configuration.publishers.items():
        try:
            secret = _secret(settings, base, environment)
        except PKIError as error:
            faults.add(f"publisher.{name}.secret", error.detail)
            continue
        files = (settings.authorities,) if settings.authorities else ()
        where = f"publisher.{name}.authorities"
        roots = read_certificates(files, where, base, faults)
        found[name] = PublisherMaterial(settings, secret, roots)
    if faults.found:
        raise ConfigurationError(configuration.source, faults.found)
    return found


def _secret(
    settings: PublisherSettings, base: Path, environment: Mapping[str, str]
) -> bytes:
    if not settings.secret:
        return b""
    reference = SecretReference.decode(settings.secret)
    return reference.resolve(environment, base=base).reveal()


class Publishers:
    """The publishers at work; one whose material did not change is kept.

    :param directory: the served directory, which is always there.
    :param materials: of the moment, by name.
    """

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401 - the global one, which has many interfaces
        clock: Clock,
        directory: Publisher,
        materials: Callable[[], Mapping[str, PublisherMaterial]],
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._directory = directory
        self._materials = materials
        self._made: dict[PublisherMaterial, WebhookPublisher] = {}

    def names(self) -> tuple[str, ...]:
        """By which each finds its place in the outbox again."""
        return (DIRECTORY, *(_WEBHOOK + name for name in self._materials()))

    async def publish_files(self, engine: CertificateAuthority) -> int:
        """Tell the served directory what it does not know yet."""
        return await engine.publish(self._directory, DIRECTORY)

    async def publish_elsewhere(self, engine: CertificateAuthority) -> int:
        """Tell the web services, one after the other; a failure stops none of them.

        :raises PKIError: the first refusal, after all were told.
        """
        done = 0
        refusals: list[PKIError] = []
        for name, publisher in self._services().items():
            try:
                done += await engine.publish(publisher, _WEBHOOK + name)
            except PKIError as refusal:
                refusals.append(refusal)
        if refusals:
            raise refusals[0]
        return done

    def _services(self) -> dict[str, WebhookPublisher]:
        materials = self._materials()
        self._made = {
            one: self._made.get(one) or self._make(one) for one in materials.values()
        }
        return {name: self._made[one] for name, one in materials.items()}

    def _make(self, material: PublisherMaterial) -> WebhookPublisher:
        settings = material.settings
        seconds = settings.timeout.total_seconds()
        return WebhookPublisher(
            settings.url,
            agent=make_agent(
                self._reactor, connect_seconds=seconds, roots=material.roots
            ),
            timer=self._reactor,
            clock=self._clock,
            seconds=seconds,
            secret=material.secret,
        )
