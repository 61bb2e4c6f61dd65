"""An ACME responder on a whole engine, a client whose requests can be bent at will."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from twisted.internet.defer import Deferred, fail, succeed

from pkid.engine.aliases import Alias
from pkid.engine.credentials import NewSecret
from pkid.engine.model import CredentialBinding, CredentialKind
from pkid.engine.profiles import EndEntityProfile
from pkid.engine.validation import ControlError, ControlQuestion
from pkid.messages.jose import encode_base64url, encode_json
from pkid.responders.acme.aliases import ACMEAlias
from pkid.responders.acme.responder import ACMEResponder
from pkid.responders.base import Exchange, Peer, Reply
from tests.engine.world import CMP, OPERATOR, World, result_of

HOST = "127.0.0.1:8443"
BASE = f"https://{HOST}/acme/default"
LOCAL = Peer(address="127.0.0.1", listener="https", secure=True)
KID, MAC_KEY = "kid-1", b"insecure-test-value-of-32-octets"


class Outside:
    """What is seen from outside: what a test says."""

    def __init__(self) -> None:
        self.asked: list[ControlQuestion] = []
        self.fault: ControlError | None = None
        self.waiting: Deferred[None] | None = None

    def prove(self, question: ControlQuestion) -> Deferred[None]:
        self.asked.append(question)
        if self.waiting is not None:
            return self.waiting
        return succeed(None) if self.fault is None else fail(self.fault)

    def patience(self, work: Deferred[None]) -> Deferred[None]:
        return succeed(None)

    def pause(self, seconds: float) -> Deferred[None]:
        return succeed(None)


class ACMEDesk:
    """The responder under test."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.settings: dict[str, Any] = {"external_account": "off"}
        self.engine_settings: dict[str, Any] = {}
        self.outside = Outside()
        self.open()

    @property
    def alias(self) -> ACMEAlias:
        own = Alias(
            name="default",
            protocol="acme",
            authority="issuing",
            certificate_profile="tls",
            end_entity_profile="hosts",
            **self.engine_settings,
        )
        return ACMEAlias(alias=own, **self.settings)

    def open(self) -> None:
        self.publish()
        self.responder = ACMEResponder(
            self.world.engine,
            lambda: {"default": self.alias},
            policies=lambda: self.world.policies,
            prover=self.outside,
            bases=lambda: frozenset((f"https://{HOST}",)),
            clock=self.world.clock,
        )

    def publish(self) -> None:
        """Let the engine know the alias as it is set now."""
        policies = self.world.policies
        hosts = EndEntityProfile(name="hosts", wildcard_names=True)
        self.world.policies = replace(
            policies,
            aliases={**policies.aliases, ("acme", "default"): self.alias.alias},
            end_entity_profiles={**policies.end_entity_profiles, "hosts": hosts},
        )

    def restart(self) -> None:
        self.world.restart()
        self.open()

    def external_key(self, *names: str, **fields: Any) -> None:
        new = NewSecret(
            kind=CredentialKind.ACME_EAB,
            reference=KID,
            secret=MAC_KEY,
            binding=CredentialBinding(alternative_names=names),
            **fields,
        )
        result_of(self.world.engine.administration.add_secret(new, OPERATOR, CMP))

    # --- asking ------------------------------------------------------------------

    def send(
        self, path: str, body: bytes = b"", method: str = "POST", **fields: Any
    ) -> Reply:
        operation, _, rest = path.partition("/")
        values: dict[str, Any] = {
            "transport": "http",
            "alias": "default",
            "operation": operation,
            "rest": rest,
            "method": method,
            "headers": {"content-type": "application/jose+json", "host": HOST},
            "peer": LOCAL,
        }
        values.update(fields)
        return result_of(self.responder.respond(Exchange(body=body, **values)))

    def nonce(self) -> str:
        return header(self.send("new-nonce", method="GET", head=True), "replay-nonce")

    def client(self) -> Client:
        return Client(self)


class Client:
    """An account's holder."""

    def __init__(self, desk: ACMEDesk) -> None:
        self.desk = desk
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.url = ""

    @property
    def jwk(self) -> dict[str, str]:
        return jwk_of(self.key)

    @property
    def thumbprint(self) -> str:
        text = json.dumps(self.jwk, sort_keys=True, separators=(",", ":"))
        return encode_base64url(hashlib.sha256(text.encode()).digest())

    def signed(self, path: str, payload: Any = None, **header: Any) -> bytes:
        """A request's body; ``header`` replaces members, None takes one out."""
        members: dict[str, Any] = {
            "alg": "ES256",
            "nonce": self.desk.nonce() if "nonce" not in header else None,
            "url": f"{BASE}/{path}",
            **({"kid": self.url} if self.url else {"jwk": self.jwk}),
            **header,
        }
        members = {name: value for name, value in members.items() if value is not None}
        return jws(members, payload, lambda octets: es256(self.key, octets))

    def ask(self, path: str, payload: Any = None, **header: Any) -> Reply:
        return self.desk.send(path, self.signed(path, payload, **header))

    # --- the usual ---------------------------------------------------------------

    def register(self, **payload: Any) -> Reply:
        reply = self.ask("new-account", payload)
        if reply.status in (200, 201):
            self.url = header(reply, "location")
        return reply

    def order(self, *names: str, **payload: Any) -> tuple[str, dict[str, Any]]:
        """Path and document of a new order."""
        identifiers = [{"type": "dns", "value": name} for name in names]
        reply = self.ask("new-order", {"identifiers": identifiers, **payload})
        assert reply.status == 201, reply.body
        return path_of(header(reply, "location")), document(reply)

    def meet(self, order: dict[str, Any], kind: str = "http-01") -> None:
        """Say that every challenge of a kind may be looked at."""
        for url in order["authorizations"]:
            found = document(self.ask(path_of(url)))
            for challenge in found["challenges"]:
                if challenge["type"] == kind and challenge["status"] == "pending":
                    reply = self.ask(path_of(challenge["url"]), {})
                    assert reply.status == 200, reply.body

    def finalize(self, order: dict[str, Any], csr: bytes) -> Reply:
        payload = {"csr": encode_base64url(csr)}
        return self.ask(path_of(order["finalize"]), payload)

    def obtain(self, *names: str) -> tuple[bytes, dict[str, Any]]:
        """A certificate (DER) and the order behind it."""
        path, order = self.order(*names)
        self.meet(order)
        reply = self.finalize(order, make_csr(*names))
        assert reply.status == 200, reply.body
        done = document(self.ask(path))
        pem = self.ask(path_of(done["certificate"])).body
        leaf = x509.load_pem_x509_certificates(pem)[0]
        return leaf.public_bytes(Encoding.DER), done


def jwk_of(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    x, y = (encode_base64url(one.to_bytes(32, "big")) for one in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def es256(key: ec.EllipticCurvePrivateKey, octets: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(octets, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def jws(members: dict[str, Any], payload: Any, sign: Callable[[bytes], bytes]) -> bytes:
    return encode_json(jws_object(members, payload, sign))


def jws_object(
    members: dict[str, Any], payload: Any, sign: Callable[[bytes], bytes]
) -> dict[str, str]:
    protected = encode_base64url(encode_json(members))
    text = "" if payload is None else encode_base64url(encode_json(payload))
    signature = sign(f"{protected}.{text}".encode())
    return {
        "protected": protected,
        "payload": text,
        "signature": encode_base64url(signature),
    }


def binding(client: Client, key: bytes = MAC_KEY, **header: Any) -> dict[str, str]:
    """An externalAccountBinding."""
    members = {
        "alg": "HS256",
        "kid": KID,
        "url": f"{BASE}/new-account",
        **header,
    }
    members = {name: value for name, value in members.items() if value is not None}
    return jws_object(
        members, client.jwk, lambda octets: hmac.digest(key, octets, "sha256")
    )


def make_csr(
    *names: str, key: ec.EllipticCurvePrivateKey | None = None, common_name: str = ""
) -> bytes:
    given = [common_name] if common_name else []
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, one) for one in given]
    builder = x509.CertificateSigningRequestBuilder(x509.Name(subject))
    if names:
        san = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(san, critical=False)
    made = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return made.public_bytes(Encoding.DER)


def header(reply: Reply, name: str) -> str:
    found = [value for key, value in reply.headers if key.lower() == name]
    assert found, (name, reply.status, reply.body)
    return found[0]


def document(reply: Reply) -> dict[str, Any]:
    return dict(json.loads(reply.body))


def problem(reply: Reply) -> str:
    """Type of a refusal without its URN, and its status: "malformed 400"."""
    assert reply.content_type == "application/problem+json", reply.body
    found = document(reply)
    assert found["status"] == reply.status
    return f"{found['type'].removeprefix('urn:ietf:params:acme:error:')} {reply.status}"


def path_of(url: str) -> str:
    assert url.startswith(f"{BASE}/"), url
    return url.removeprefix(f"{BASE}/")
