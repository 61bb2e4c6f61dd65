"""The services that know SCEP challenges, as the configuration names them.

**Source:** DESIGN sections 7 and 9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pkid.app.kinds import ConfigurationError, Faults
from pkid.app.settings import Configuration, ValidatorSettings
from pkid.app.snapshot import read_certificates
from pkid.engine.ports import Clock
from pkid.engine.validation import ChallengeValidator
from pkid.errors import PKIError
from pkid.keys.secrets import SecretReference
from pkid.transports.agents import make_agent
from pkid.validators.calls import ServiceCalls
from pkid.validators.intune import IntuneApplication, IntuneValidator
from pkid.validators.webhook import WebhookValidator


@dataclass(frozen=True, slots=True)
class ValidatorMaterial:
    """One service, with the secret and the file that its settings name.

    :ivar roots: DER of the roots that its TLS certificate is checked against.
    """

    settings: ValidatorSettings
    secret: bytes = field(default=b"", repr=False)
    roots: tuple[bytes, ...] = ()


def read_validators(
    configuration: Configuration, *, base: Path, environment: Mapping[str, str]
) -> dict[str, ValidatorMaterial]:
    """Read what the settings of the services name.

    :param base: directory that relative paths start from.
    :raises ConfigurationError: with every secret and file that cannot be used.
    """
    faults = Faults()
    found: dict[str, ValidatorMaterial] = {}
    for name, settings in configuration.validators.items():
        try:
            secret = _secret(settings, base, environment)
        except PKIError as error:
            faults.add(f"validator.{name}.secret", error.detail)
            continue
        files = (settings.authorities,) if settings.authorities else ()
        where = f"validator.{name}.authorities"
        roots = read_certificates(files, where, base, faults)
        found[name] = ValidatorMaterial(settings, secret, roots)
    if faults.found:
        raise ConfigurationError(configuration.source, faults.found)
    return found


def _secret(
    settings: ValidatorSettings, base: Path, environment: Mapping[str, str]
) -> bytes:
    if not settings.secret:
        return b""
    reference = SecretReference.decode(settings.secret)
    return reference.resolve(environment, base=base).reveal()


class Validators:
    """The services at work; one whose material did not change is kept.

    :param materials: of the moment, by name.
    """

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401 - the global one, which has many interfaces
        clock: Clock,
        materials: Callable[[], Mapping[str, ValidatorMaterial]],
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._materials = materials
        self._made: dict[ValidatorMaterial, ChallengeValidator] = {}

    def current(self) -> Mapping[str, ChallengeValidator]:
        """By name."""
        materials = self._materials()
        self._made = {
            one: self._made.get(one) or self._make(one) for one in materials.values()
        }
        return {one.settings.name: made for one, made in self._made.items()}

    def _make(self, material: ValidatorMaterial) -> ChallengeValidator:
        settings = material.settings
        seconds = settings.timeout.total_seconds()
        agent = make_agent(self._reactor, connect_seconds=seconds, roots=material.roots)
        calls = ServiceCalls(agent, self._reactor, seconds)
        if settings.kind == "intune":
            application = IntuneApplication(
                tenant=settings.tenant,
                application=settings.application,
                secret=material.secret.decode(),
                login_url=settings.login_url,
                graph_url=settings.graph_url,
            )
            return IntuneValidator(
                settings.name, application, calls=calls, clock=self._clock
            )
        return WebhookValidator(
            settings.name,
            settings.url,
            secret=material.secret,
            calls=calls,
            clock=self._clock,
        )
