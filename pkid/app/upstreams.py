"""The CAs elsewhere at work: their connections, our certificates of their PKIs.

``upstream/NAME.pem`` in the state directory is our certificate before that CA and those
above it; ``upstream/NAME.csr`` the request for one that is to be brought.

**Source:** DESIGN sections 7 and 9.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_csr, load_pem_x509_certificates
from twisted.logger import Logger

from pkid.app.house import House
from pkid.app.identities import encode_chain
from pkid.app.kinds import ConfigurationError, Faults
from pkid.app.settings import Configuration
from pkid.app.snapshot import read_certificates
from pkid.app.upstream_tables import UpstreamSettings
from pkid.errors import PKIError
from pkid.keys.secrets import Secret, SecretReference
from pkid.responders.cmp.aliases import FORWARD
from pkid.responders.cmp.upstream import Upstream
from pkid.responders.cmp.upstreamidentity import OwnCertificate
from pkid.storage.directory import make_private_directory, write_atomically
from pkid.transports.cmpclient import CMPClient, Patience, network_endpoints

DIRECTORY: Final = "upstream"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamMaterial:
    """One CA elsewhere, with the files and the secret that its settings name.

    :ivar anchors: DER.
    :ivar brought: DER of our certificate and those above it; () when it is not there.
    """

    settings: UpstreamSettings
    anchors: tuple[bytes, ...] = ()
    secret: bytes = field(default=b"", repr=False)
    brought: tuple[bytes, ...] = ()


def read_upstreams(
    configuration: Configuration, *, base: Path, environment: Mapping[str, str]
) -> dict[str, UpstreamMaterial]:
    """Read what the settings of CAs elsewhere name.

    :param base: directory that relative paths start from.
    :raises ConfigurationError: with every file that cannot be used.
    """
    faults = Faults()
    found = {
        name: _material(settings, base, environment, faults)
        for name, settings in configuration.cmp_upstreams.items()
    }
    if faults.found:
        raise ConfigurationError(configuration.source, faults.found)
    return found


def _material(
    settings: UpstreamSettings,
    base: Path,
    environment: Mapping[str, str],
    faults: Faults,
) -> UpstreamMaterial:
    where = f"cmp.upstream.{settings.name}"
    brought: tuple[bytes, ...] = ()
    # Before it is brought, the request for it has to be made: no fault.
    if settings.certificate and (base / settings.certificate).exists():
        brought = read_certificates(
            (settings.certificate,), f"{where}.certificate", base, faults
        )
    return UpstreamMaterial(
        settings=settings,
        anchors=read_certificates(settings.trust, f"{where}.trust", base, faults),
        secret=_secret(settings, base, environment, faults).reveal(),
        brought=brought,
    )


def _secret(
    settings: UpstreamSettings,
    base: Path,
    environment: Mapping[str, str],
    faults: Faults,
) -> Secret:
    if not settings.secret:
        return Secret(b"")
    try:
        reference = SecretReference.decode(settings.secret)
        return reference.resolve(environment, base=base)
    except PKIError as error:
        faults.add(f"cmp.upstream.{settings.name}.secret", error.detail)
        return Secret(b"")


@dataclass(slots=True)
class _AtWork:
    """One CA elsewhere.

    :ivar own: what keeps our certificate; made at first use.
    :ivar chain: our certificate and those above it, once there is one.
    """

    material: UpstreamMaterial
    upstream: Upstream
    clients: tuple[CMPClient, ...]
    own: OwnCertificate | None = None
    chain: tuple[bytes, ...] = ()


class Upstreams:
    """All CAs elsewhere, as configured at this moment.

    :param materials: what the configuration says; another object after a reload.
    """

    _log = Logger()

    def __init__(
        self,
        house: House,
        state: Path,
        *,
        configuration: Callable[[], Configuration],
        materials: Callable[[], Mapping[str, UpstreamMaterial]],
        reactor: Any,  # noqa: ANN401 - the reactor has no one interface
    ) -> None:
        self._house = house
        self._directory = state / DIRECTORY
        self._configuration = configuration
        self._materials = materials
        self._reactor = reactor
        self._at_work: dict[str, _AtWork] = {}
        self._known: dict[str, Upstream] = {}
        self._failing: set[str] = set()

    def current(self) -> Mapping[str, Upstream]:
        """The CAs by name."""
        materials = self._materials()
        if {name: one.material for name, one in self._at_work.items()} != materials:
            self._at_work = {
                name: self._kept(name, material) for name, material in materials.items()
            }
            self._known = {name: one.upstream for name, one in self._at_work.items()}
        return self._known

    async def prepare(self) -> int:
        """See to it that our certificates are there and young enough.

        What cannot be had is logged, and tried again at the next turn.

        :returns: how many are missing.
        """
        self.current()
        missing = 0
        for name in sorted(self._signing()):
            try:
                await self._prepare(self._at_work[name])
            except PKIError as error:
                missing += 1
                self._report(name, error)
            else:
                self._failing.discard(name)
        return missing

    def _kept(self, name: str, material: UpstreamMaterial) -> _AtWork:
        before = self._at_work.get(name)
        if before is not None and before.material == material:
            return before
        settings = material.settings
        wire = self._client(material, settings.urls)
        enrolment = wire
        if settings.enrolment_urls:
            enrolment = self._client(material, settings.enrolment_urls)
        upstream = self._upstream(material, wire, enrolment)
        return _AtWork(material, upstream, (wire, enrolment))

    def _upstream(
        self, material: UpstreamMaterial, wire: CMPClient, enrolment: CMPClient
    ) -> Upstream:
        settings = material.settings
        return Upstream(
            name=settings.name,
            wire=wire,
            enrolment=enrolment,
            anchors=material.anchors,
            subject=settings.subject,
            reference=settings.reference,
            secret=material.secret,
            brought=material.brought,
            original=settings.send_original,
            vouched=settings.always_raverified,
            retry=settings.retry,
            poll_after=settings.poll_after,
            hold=settings.hold,
            most_held=settings.most_held,
        )

    def _client(self, material: UpstreamMaterial, urls: Sequence[str]) -> CMPClient:
        settings = material.settings
        return CMPClient(
            urls,
            clock=self._reactor,
            endpoints=network_endpoints(self._reactor, material.anchors),
            framing=settings.framing,
            patience=Patience(
                timeout_seconds=settings.timeout_seconds,
                rest_seconds=settings.rest_seconds,
                most_rest_seconds=settings.most_rest_seconds,
            ),
        )

    def close(self) -> None:
        """End what is under way to the CAs."""
        for one in self._at_work.values():
            for client in one.clients:
                client.close()

    def warnings(self) -> list[str]:
        """What an operator should know."""
        return [
            f"there is no certificate before {name}: requests for it are not served"
            for name in sorted(self._failing & self._signing())
            if not self._at_work[name].chain
        ]

    # --- our certificates ---------------------------------------------------------

    def _signing(self) -> set[str]:
        """Names of the CAs that we sign messages to."""
        aliases = self._configuration().cmp_aliases.values()
        wanted = {
            one.alias.upstream
            for one in aliases
            if one.alias.upstream and one.upstream_mode != FORWARD
        }
        return wanted & set(self._at_work)

    async def _prepare(self, one: _AtWork) -> None:
        name = one.upstream.name
        elsewhere = self._house.engine.elsewhere
        if one.own is None:
            signer = await elsewhere.make_key(name, one.material.settings.key)
            one.own = OwnCertificate(
                one.upstream, signer, self._house.clock, secrets.token_bytes
            )
            one.chain = self._stored(name)
        if one.material.settings.certificate and not one.material.brought:
            await self._write_request(name, one.own)
        chain = await one.own.current(one.chain)
        elsewhere.adopt(name, one.own.identity(chain))
        if chain != one.chain and not one.material.brought:
            make_private_directory(self._directory)
            write_atomically(self._path(name, "pem"), encode_chain(chain))
            await elsewhere.audit(
                "upstream-certificate", f"registration authority before {name}"
            )
        one.chain = chain

    async def _write_request(self, name: str, own: OwnCertificate) -> None:
        path = self._path(name, "csr")
        if path.exists():
            return
        request = load_der_x509_csr(await own.certification_request())
        make_private_directory(self._directory)
        write_atomically(path, request.public_bytes(Encoding.PEM))

    def _stored(self, name: str) -> tuple[bytes, ...]:
        path = self._path(name, "pem")
        if not path.exists():
            return ()
        found = load_pem_x509_certificates(path.read_bytes())
        return tuple(one.public_bytes(Encoding.DER) for one in found)

    def _path(self, name: str, kind: str) -> Path:
        return self._directory / f"{name}.{kind}"

    def _report(self, name: str, error: PKIError) -> None:
        if name not in self._failing:
            self._log.warn(
                "there is no certificate before {upstream} yet: {detail} ({hint})",
                upstream=name,
                detail=error.detail,
                hint=error.hint or "",
            )
        self._failing.add(name)
