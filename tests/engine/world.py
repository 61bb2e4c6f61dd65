"""A whole engine in memory's reach: real store and keys, a clock that tests turn."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure

from pkid.asn1 import oids
from pkid.asn1.names import Name
from pkid.asn1.x509 import AlgorithmIdentifier, Extension
from pkid.crypto.possession import SignedPossession
from pkid.engine.aliases import Alias, ApprovalRule, Policies
from pkid.engine.authority import CertificateAuthority
from pkid.engine.creation import NewAuthority
from pkid.engine.credentials import NewSecret
from pkid.engine.model import (
    CertificateRecord,
    CredentialKind,
    EnrollmentRequest,
    Issued,
    Outcome,
    RequestContext,
    RequestedCertificate,
    Requester,
    RequesterKind,
    TransactionKey,
)
from pkid.engine.profiles import CertificateProfile, EndEntityProfile, ProfileKind
from pkid.engine.rooms import Suppliers
from pkid.keys.file import FileKeyStore
from pkid.keys.pbes2 import ScryptParameters
from pkid.keys.secrets import AESGCMSecretBox, Secret
from pkid.storage.filestore import FileStore

P = ParamSpec("P")
R = TypeVar("R")
START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CMP = RequestContext(protocol="cmp", transport="http", peer="127.0.0.1")
ECDSA = AlgorithmIdentifier(oids.ECDSA_WITH_SHA256)
OPERATOR = "uid:0"


class TurnedClock:
    """A wall clock that stands until a test turns it."""

    def __init__(self) -> None:
        self.moment = START
        self.seconds = 1000.0

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, period: timedelta) -> None:
        """Let time pass."""
        self.moment += period
        self.seconds += period.total_seconds()

    def jump(self, period: timedelta) -> None:
        """Set the wall clock; no time passes."""
        self.moment += period


class InlineWorkers:
    """Runs at once what would go to a thread."""

    def run(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[R]:
        return maybeDeferred(function, *args, **kwargs)

    def pace(self, steps: Generator[None, None, R]) -> Deferred[R]:
        try:
            while True:
                next(steps)
        except StopIteration as stop:
            return succeed(stop.value)


def result_of(work: Deferred[R] | Coroutine[Any, Any, R]) -> R:
    """What a Deferred that has fired holds; its exception is raised."""
    deferred = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
    results: list[R | Failure] = []
    deferred.addBoth(results.append)
    assert results, "the Deferred has not fired"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]  # type: ignore[return-value]  # a Failure was raised above


@dataclass
class DeviceKey:
    """A device's key pair."""

    private: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    @property
    def spki(self) -> bytes:
        return self.private.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )

    def possession(self, octets: bytes = b"what was signed") -> SignedPossession:
        signature = self.private.sign(octets, ec.ECDSA(hashes.SHA256()))
        return SignedPossession(octets, signature, ECDSA)


def default_policies() -> Policies:
    """Profiles and one CMP alias, as the embedded configuration has them."""
    profiles = (
        CertificateProfile(
            name="root-ca",
            kind=ProfileKind.ROOT_CA,
            validity=timedelta(days=7300),
            key_usage=("keyCertSign", "cRLSign"),
            crl_distribution_point=False,
            ca_issuers=False,
        ),
        CertificateProfile(
            name="ca-link",
            kind=ProfileKind.ROOT_CA,
            exact_validity=True,
            key_usage=("keyCertSign", "cRLSign"),
            crl_distribution_point=False,
            ca_issuers=False,
        ),
        CertificateProfile(
            name="sub-ca",
            kind=ProfileKind.SUB_CA,
            validity=timedelta(days=3650),
            path_length=0,
            key_usage=("keyCertSign", "cRLSign"),
        ),
        CertificateProfile(
            name="cmp-signer",
            key_usage=("digitalSignature",),
            extended_key_usage=(oids.ID_KP_CMC_CA, oids.ID_KP_CMC_RA),
            validity=timedelta(days=365),
        ),
        CertificateProfile(
            name="key-generation",
            key_usage=("digitalSignature",),
            extended_key_usage=(oids.ID_KP_CM_KGA,),
        ),
        CertificateProfile(
            name="key-reception",
            keys=("rsa:2048-4096",),
            key_usage=("keyEncipherment",),
        ),
        CertificateProfile(
            name="cmp-agreement",
            keys=("ec:P-256",),
            key_usage=("keyAgreement",),
        ),
        CertificateProfile(
            name="cmp-kem",
            keys=("ml-kem-768",),
            key_usage=("keyEncipherment",),
        ),
        CertificateProfile(
            name="tls",
            extended_key_usage=(oids.ID_KP_SERVER_AUTH,),
            validity=timedelta(days=365),
        ),
        CertificateProfile(
            name="device",
            extended_key_usage=(oids.ID_KP_CLIENT_AUTH,),
            validity=timedelta(days=730),
        ),
    )
    return Policies(
        certificate_profiles={profile.name: profile for profile in profiles},
        end_entity_profiles={"any": EndEntityProfile(name="any")},
        aliases={
            ("cmp", "default"): Alias(
                name="default", protocol="cmp", authority="issuing"
            )
        },
        approval_rules={"operator": ApprovalRule(name="operator", needed=1)},
    )


class World:
    """An engine on a real store, and short ways to ask it for things."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = TurnedClock()
        self.policies = default_policies()
        self.random: Callable[[int], bytes] = secrets.token_bytes
        self.open()

    def open(self) -> None:
        workers = InlineWorkers()
        self.store = FileStore.open(self.directory)
        self.keys = keys = FileKeyStore(
            self.directory / "keys",
            passphrase=Secret(b"for tests"),
            workers=workers,
            work=ScryptParameters(b"salt of the tests", cost=2, parallelism=1),
        )
        self.engine = CertificateAuthority(
            Suppliers(
                store=self.store,
                keys=keys,
                box=AESGCMSecretBox(Secret(b"k" * 32)),
                clock=self.clock,
                workers=workers,
                random=self._drawn,
            ),
            lambda: self.policies,
        )
        result_of(self.engine.open())

    def _drawn(self, count: int) -> bytes:
        return self.random(count)

    def first_start(self) -> None:
        for name, parent in (("root", None), ("issuing", "root")):
            new = NewAuthority(
                name=name,
                subject=Name.from_text(f"CN=pkid {name},O=pkid test"),
                parent=parent,
            )
            result_of(self.engine.create_authority(new, CMP))
        result_of(self.engine.prepare_message_identity("issuing", CMP))
        result_of(self.engine.refresh_crls())

    def close(self) -> None:
        result_of(self.store.close())

    def restart(self) -> None:
        self.close()
        self.open()
        result_of(self.engine.prepare_message_identity("issuing", CMP))

    # --- configuration -------------------------------------------------------------

    @property
    def alias(self) -> Alias:
        return self.policies.aliases["cmp", "default"]

    def change_alias(self, **changes: Any) -> None:
        aliases = {("cmp", "default"): replace(self.alias, **changes)}
        self.policies = replace(self.policies, aliases=aliases)

    def change_profile(self, name: str, **changes: Any) -> None:
        profiles = dict(self.policies.certificate_profiles)
        profiles[name] = replace(profiles[name], **changes)
        self.policies = replace(self.policies, certificate_profiles=profiles)

    def change_names(self, **changes: Any) -> None:
        rules = EndEntityProfile(name="any", **changes)
        self.policies = replace(self.policies, end_entity_profiles={"any": rules})

    # --- asking --------------------------------------------------------------------

    def secret(self, reference: str = "device-1", **fields: Any) -> Requester:
        """A requester with a fresh shared secret."""
        new = NewSecret(kind=CredentialKind.CMP_SECRET, reference=reference, **fields)
        result_of(self.engine.administration.add_secret(new, OPERATOR, CMP))
        return self.known_secret(reference)

    def known_secret(self, reference: str) -> Requester:
        found = result_of(
            self.engine.find_secret(CredentialKind.CMP_SECRET, reference, "default")
        )
        assert found is not None
        return found.requester

    def request(
        self,
        requester: Requester,
        key: DeviceKey | None = None,
        subject: str | None = "CN=device-1,O=pkid test",
        extensions: tuple[Extension, ...] = (),
        transaction_id: bytes = b"",
        **fields: Any,
    ) -> EnrollmentRequest:
        key = key or DeviceKey()
        transaction_id = transaction_id or secrets.token_bytes(16)
        requested = RequestedCertificate(
            subject=None if subject is None else Name.from_text(subject),
            public_key=key.spki,
            extensions=extensions,
            not_before=fields.pop("not_before", None),
            not_after=fields.pop("not_after", None),
        )
        return EnrollmentRequest(
            alias="default",
            context=fields.pop("context", CMP),
            requester=requester,
            requested=requested,
            possession=fields.pop("possession", key.possession()),
            transaction=TransactionKey(
                "cmp", "default", requester.identity, transaction_id
            ),
            request_hash=hashlib.sha256(transaction_id + key.spki).digest(),
            **fields,
        )

    def enroll(
        self,
        request: EnrollmentRequest,
        encode_state: Callable[[Outcome], Awaitable[bytes]] | None = None,
    ) -> Outcome:
        async def no_state(outcome: Outcome) -> bytes:
            return b"state"

        return result_of(self.engine.enroll(request, encode_state or no_state))

    def issue(self, request: EnrollmentRequest) -> Issued:
        outcome = self.enroll(request)
        assert isinstance(outcome, Issued)
        return outcome

    def holder(self, issued: Issued) -> Requester:
        """The requester that signs with an issued certificate."""
        return result_of(self.engine.identify(self.alias, issued.der, ()))

    def record(self, issued: Issued) -> CertificateRecord:
        found = result_of(self.engine.find_certificate(issued.certificate.reference))
        assert found is not None
        return found

    def certificate(self, issued: Issued) -> x509.Certificate:
        return x509.load_der_x509_certificate(issued.der)

    def audited(self, text: str) -> list[str]:
        found = result_of(self.engine.explain(text))
        return [record.event.action for record in found]


@contextmanager
def world_in(directory: Path) -> Iterator[World]:
    world = World(directory)
    try:
        world.first_start()
        yield world
    finally:
        world.close()


OPERATOR_REQUESTER = Requester(kind=RequesterKind.OPERATOR, identity=OPERATOR)
