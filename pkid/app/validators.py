"""The services that know SCEP challenges, as the configuration names them.

**Source:** DESIGN sections 7 and 9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from OpenSSL.crypto import Error as CryptoError
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS

from pkid.app.kinds import ConfigurationError, Faults
from pkid.app.settings import Configuration, ValidatorSettings
from pkid.engine.ports import ChallengeValidator, Clock
from pkid.errors import PKIError
from pkid.keys.secrets import SecretReference
from pkid.validators.calls import ServiceCalls
from pkid.validators.intune import IntuneApplication, IntuneValidator
from pkid.validators.webhook import WebhookValidator

NO_CERTIFICATE: Final = "the file holds no certificate in PEM"
_PEM_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_PEM_END: Final = "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class ValidatorMaterial:
    """One service, with the secret and the file that its settings name.

    :ivar roots: PEM of the roots that its TLS certificate is checked against.
    """

    settings: ValidatorSettings
    secret: bytes = field(default=b"", repr=False)
    roots: tuple[str, ...] = ()


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
            found[name] = _material(settings, base, environment)
        except PKIError as error:
            faults.add(f"validator.{name}.secret", error.detail)
        except (OSError, ValueError) as error:
            faults.add(f"validator.{name}.authorities", str(error))
    if faults.found:
        raise ConfigurationError(configuration.source, faults.found)
    return found


def _material(
    settings: ValidatorSettings, base: Path, environment: Mapping[str, str]
) -> ValidatorMaterial:
    secret, roots = b"", ()
    if settings.secret:
        reference = SecretReference.decode(settings.secret)
        secret = reference.resolve(environment, base=base).reveal()
    if settings.authorities:
        roots = _roots((base / settings.authorities).read_text("ascii"))
    return ValidatorMaterial(settings, secret, roots)


def _roots(text: str) -> tuple[str, ...]:
    found = tuple(
        f"{part}{_PEM_END}\n" for part in text.split(_PEM_END) if _PEM_BEGIN in part
    )
    for one in found:
        try:
            Certificate.loadPEM(one)
        except CryptoError:
            raise ValueError(NO_CERTIFICATE) from None
    if not found:
        raise ValueError(NO_CERTIFICATE)
    return found


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
        calls = ServiceCalls(self._agent(material, seconds), self._reactor, seconds)
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

    def _agent(self, material: ValidatorMaterial, seconds: float) -> Agent:
        if not material.roots:
            return Agent(self._reactor, connectTimeout=seconds)
        roots = [Certificate.loadPEM(one) for one in material.roots]
        policy = BrowserLikePolicyForHTTPS(trustRootFromCertificates(roots))
        return Agent(self._reactor, policy, connectTimeout=seconds)
