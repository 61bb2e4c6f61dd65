"""A SCEP responder on a whole engine, and short ways to ask it."""

from __future__ import annotations

import base64
import functools
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from pkid.asn1 import oids
from pkid.engine.aliases import Alias, Authentication
from pkid.engine.credentials import NewSecret
from pkid.engine.exchange import ExchangeIdentity, ExchangeKind
from pkid.engine.model import CertificateRecord, CredentialKind, RequestContext
from pkid.engine.ports import CertificateQuery
from pkid.engine.profiles import CertificateProfile
from pkid.engine.validation import ChallengeValidator
from pkid.responders.base import Exchange, Peer, Reply
from pkid.responders.scep.aliases import SCEPAlias
from pkid.responders.scep.responder import SCEPResponder
from tests.engine.world import CMP, OPERATOR, InlineWorkers, World, result_of
from tests.support import scepclient
from tests.support.scepclient import Answer, Envelope, Key, Message

CHALLENGE = "correct-horse"
LOCAL = Peer(address="127.0.0.1", listener="http")
CONTEXT = RequestContext(protocol="scep")
RA_PROFILES = (
    ("scep-ra", ("digitalSignature", "keyEncipherment"), ()),
    ("scep-ra-signing", ("digitalSignature",), (oids.MICROSOFT_ENROLLMENT_AGENT,)),
    ("scep-ra-encryption", ("keyEncipherment",), ()),
)


@functools.cache
def known_key(number: int = 0) -> rsa.RSAPrivateKey:
    """Keys are dear: tests share them where it does not matter whose they are."""
    return scepclient.new_key()


class SCEPDesk:
    """The responder under test, before an EC CA with an RSA RA."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.settings: dict[str, Any] = {"static_challenge": True}
        self.validators: Mapping[str, ChallengeValidator] = {}
        self._add_profiles()
        self.change_alias()
        self.open()

    def _add_profiles(self) -> None:
        profiles = dict(self.world.policies.certificate_profiles)
        for name, usage, purposes in RA_PROFILES:
            profiles[name] = CertificateProfile(
                name=name,
                keys=("rsa:2048-8192",),
                key_usage=usage,
                extended_key_usage=purposes,
                validity=timedelta(days=365),
            )
        self.world.policies = replace(
            self.world.policies, certificate_profiles=profiles
        )

    @property
    def alias(self) -> Alias:
        return self.world.policies.aliases["scep", "default"]

    def change_alias(self, **changes: Any) -> None:
        """What the engine knows of the entrance."""
        aliases = dict(self.world.policies.aliases)
        current = aliases.get(("scep", "default")) or Alias(
            name="default",
            protocol="scep",
            authority="issuing",
            authenticate=frozenset((Authentication.MAC, Authentication.CERTIFICATE)),
        )
        aliases["scep", "default"] = replace(current, **changes)
        self.world.policies = replace(self.world.policies, aliases=aliases)

    @property
    def scep_alias(self) -> SCEPAlias:
        return SCEPAlias(alias=self.alias, **self.settings)

    def open(self) -> None:
        self.prepare()
        self.responder = SCEPResponder(
            self.world.engine,
            lambda: {"default": self.scep_alias},
            validators=lambda: self.validators,
            clock=self.world.clock,
            workers=InlineWorkers(),
        )

    def prepare(self) -> ExchangeIdentity:
        alias = self.scep_alias
        return result_of(
            self.world.engine.exchange.prepare(
                alias.alias.authority, alias.identity, alias.identity_key, CONTEXT
            )
        )

    def restart(self) -> None:
        """Everything in memory is gone."""
        self.world.restart()
        self.open()

    # --- secrets -----------------------------------------------------------------

    def challenge(self, value: str = CHALLENGE, **fields: Any) -> str:
        new = NewSecret(
            kind=CredentialKind.SCEP_CHALLENGE, secret=value.encode(), **fields
        )
        result_of(self.world.engine.administration.add_secret(new, OPERATOR, CMP))
        return value

    # --- whom to talk to -----------------------------------------------------------

    @property
    def identity(self) -> ExchangeIdentity:
        alias = self.scep_alias
        return self.world.engine.exchange.get(alias.alias.authority, alias.identity)

    @property
    def ra(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.identity.certificate)

    @property
    def encryption(self) -> x509.Certificate:
        octets = self.identity.encryption_certificate
        return x509.load_der_x509_certificate(octets)

    @property
    def ca(self) -> x509.Certificate:
        octets = self.world.engine.chain(self.alias.authority)[0]
        return x509.load_der_x509_certificate(octets)

    # --- asking ------------------------------------------------------------------

    def exchange(self, **fields: Any) -> Exchange:
        values: dict[str, Any] = {
            "transport": "http",
            "alias": "default",
            "method": "GET",
            "peer": LOCAL,
            "body": b"",
        }
        values.update(fields)
        return Exchange(**values)

    def reply(self, **fields: Any) -> Reply:
        return result_of(self.responder.respond(self.exchange(**fields)))

    def get(self, operation: str, query: str = "") -> Reply:
        return self.reply(query=f"operation={operation}{query}")

    def post(self, octets: bytes, **fields: Any) -> Reply:
        return self.reply(
            method="POST", query="operation=PKIOperation", body=octets, **fields
        )

    def get_message(self, octets: bytes) -> Reply:
        message = quote(base64.b64encode(octets).decode(), safe="")
        return self.reply(query=f"operation=PKIOperation&message={message}")

    def read(self, reply: Reply, key: Key | None = None, password: str = "") -> Answer:
        assert reply.status == 200, (reply.status, reply.body)
        assert reply.content_type == "application/x-pki-message"
        return scepclient.read_answer(
            reply.body, self.ra, key, password=password.encode()
        )

    # --- messages ----------------------------------------------------------------

    def envelope(self, **fields: Any) -> Envelope:
        return Envelope(**{"recipient": self.encryption, **fields})

    def message(
        self,
        inner: bytes,
        key: Key | None = None,
        *,
        certificate: x509.Certificate | None = None,
        envelope: Envelope | None = None,
        **fields: Any,
    ) -> Message:
        key = key or known_key()
        return Message(
            content=(envelope or self.envelope()).encode(inner),
            key=key,
            certificate=certificate or scepclient.self_signed(key),
            **fields,
        )

    def request(
        self,
        key: Key | None = None,
        subject: str = "CN=device-1",
        challenge: str | None = CHALLENGE,
        *,
        csr: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Message:
        """A PKCSReq signed by a certificate of the client's own making."""
        key = key or known_key()
        inner = scepclient.pkcs10(key, subject, challenge, **(csr or {}))
        return self.message(inner, key, **fields)

    def enroll(self, key: Key | None = None, **fields: Any) -> Answer:
        key = key or known_key()
        sent = self.request(key, **fields)
        return self.read(self.post(sent.encode()), key)

    def renewal(
        self,
        old: x509.Certificate,
        old_key: Key,
        key: Key,
        subject: str = "CN=device-1",
        challenge: str | None = None,
        *,
        csr: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Message:
        inner = scepclient.pkcs10(key, subject, challenge, **(csr or {}))
        fields.setdefault("message_type", "17")
        return self.message(inner, old_key, certificate=old, **fields)

    def renew(self, old: x509.Certificate, old_key: Key, **fields: Any) -> Answer:
        key = fields.pop("key", None) or known_key(1)
        sent = self.renewal(old, old_key, key, **fields)
        return self.read(self.post(sent.encode()), old_key)

    def poll(
        self,
        sent: Message,
        key: Key | None = None,
        subject: str = "CN=device-1",
        **fields: Any,
    ) -> Answer:
        key = key or known_key()
        inner = scepclient.issuer_and_subject(self.ca.subject, subject)
        again = self.message(
            inner,
            key,
            **{
                "certificate": sent.certificate,
                "message_type": "20",
                "transaction_id": sent.transaction_id,
                **fields,
            },
        )
        return self.read(self.post(again.encode()), key)

    def ask_for(
        self, message_type: str, serial: int, key: Key | None = None, **fields: Any
    ) -> Answer:
        """GetCert or GetCRL."""
        key = key or known_key()
        issuer = fields.pop("issuer", self.ca.subject)
        inner = scepclient.issuer_and_serial(issuer, serial)
        sent = self.message(inner, key, message_type=message_type, **fields)
        return self.read(self.post(sent.encode()), key)

    # --- looking -----------------------------------------------------------------

    def issued(self) -> list[CertificateRecord]:
        """What was issued to devices, newest first."""
        query = CertificateQuery(authority="issuing", limit=1000)
        found = result_of(self.world.engine.search_certificates(query))
        return [record for record in found if record.protocol == "scep"]

    def approve_all(self) -> None:
        administration = self.world.engine.administration
        for waiting in result_of(self.world.store.list_approvals()):
            if waiting.status.value == "waiting":
                result_of(administration.approve(waiting.id, OPERATOR, "", CMP))


def kind(text: str) -> ExchangeKind:
    return ExchangeKind(text)
