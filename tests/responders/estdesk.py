"""An EST responder on a whole engine, requests to be bent at will, and answers read."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs7

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import AlgorithmIdentifier, Extension, encode_extensions
from pkid.crypto.algorithms import signature_algorithm_for
from pkid.crypto.extensions import subject_alternative_name
from pkid.crypto.signatures import sign
from pkid.engine.aliases import Alias
from pkid.engine.credentials import NewSecret
from pkid.engine.model import (
    CertificateReference,
    CredentialKind,
    RequestContext,
    RevocationReason,
)
from pkid.engine.revocation import RevocationRequest
from pkid.messages.pkcs10 import (
    Attribute,
    CertificationRequest,
    encode_request_info,
)
from pkid.responders.base import Exchange, Peer, Reply
from pkid.responders.est.aliases import ESTAlias
from pkid.responders.est.responder import ESTResponder
from tests.engine.world import OPERATOR, OPERATOR_REQUESTER, World, result_of

EST = RequestContext(protocol="est", transport="http", peer="127.0.0.1")
USER, PASSWORD = "device", "insecure-test-value"
BINDING = b"finished-now"
LOCAL = Peer(address="127.0.0.1", listener="est", channel_bindings=(BINDING,))


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def spki_of(key: Any) -> bytes:
    return key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


def challenge(text: str) -> Attribute:
    return Attribute(oids.PKCS9_CHALLENGE_PASSWORD, (der.utf8_string(text),))


def bound(binding: bytes = BINDING) -> Attribute:
    return challenge(base64.b64encode(binding).decode())


def san(*names: str) -> Extension:
    return subject_alternative_name([GeneralName.dns(name) for name in names])


def csr(
    key: Any,
    subject: str = "CN=device-1,O=pkid test",
    *,
    extensions: tuple[Extension, ...] = (),
    attributes: Iterable[Attribute] = (),
    signer: Any = None,
    hash_name: str = "",
) -> bytes:
    """A PKCS #10 request in DER."""
    found = list(attributes)
    if extensions:
        value = encode_extensions(extensions)
        found.append(Attribute(oids.PKCS9_EXTENSION_REQUEST, (value,)))
    name = Name.from_text(subject) if subject else Name.build(())
    info = encode_request_info(name.der, spki_of(key), tuple(found))
    algorithm = signature_algorithm_for((signer or key).public_key())
    if hash_name == "sha1":
        algorithm = AlgorithmIdentifier(oids.ECDSA_WITH_SHA1)
        signature = key.sign(info, ec.ECDSA(hashes.SHA1()))
    else:
        signature = sign(signer or key, algorithm, info)
    return CertificationRequest.build(info, algorithm, signature).der


def basic(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    text = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"authorization": f"Basic {text}"}


def header(reply: Reply, name: str) -> str | None:
    found = [value for key, value in reply.headers if key.lower() == name.lower()]
    return found[0] if found else None


def certificates(reply: Reply) -> list[x509.Certificate]:
    assert reply.status == 200, (reply.status, reply.body)
    return pkcs7.load_der_pkcs7_certificates(base64.b64decode(reply.body))


def octets_of(certificate: x509.Certificate | bytes | None) -> bytes | None:
    if isinstance(certificate, x509.Certificate):
        return certificate.public_bytes(Encoding.DER)
    return certificate


class ESTDesk:
    """The responder under test."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.settings: dict[str, Any] = {}
        self.alias = Alias(name="default", protocol="est", authority="issuing")
        self.change_alias()
        self.secret()
        self.open()

    def open(self) -> None:
        self.responder = ESTResponder(
            self.world.engine,
            lambda: {"default": ESTAlias(alias=self.alias, **self.settings)},
            policies=lambda: self.world.policies,
            clock=self.world.clock,
        )

    def change_alias(self, **changes: Any) -> None:
        self.alias = replace(self.alias, **changes)
        aliases = {**self.world.policies.aliases, ("est", "default"): self.alias}
        self.world.policies = replace(self.world.policies, aliases=aliases)

    def change_profile(self, name: str = "device", **changes: Any) -> None:
        self.world.change_profile(name, **changes)

    def secret(self, user: str = USER, **fields: Any) -> None:
        new = NewSecret(
            kind=fields.pop("kind", CredentialKind.ENROLLMENT_CODE),
            reference=user,
            secret=fields.pop("secret", PASSWORD.encode()),
            **fields,
        )
        result_of(self.world.engine.administration.add_secret(new, OPERATOR, EST))

    # --- asking ------------------------------------------------------------------

    def ask(
        self,
        operation: str,
        body: bytes = b"",
        *,
        cert: Any = None,
        user: dict[str, str] | None = None,
        chain: tuple[bytes, ...] = (),
        **fields: Any,
    ) -> Reply:
        """One exchange.

        :param body: DER; sent as base64 unless ``raw`` is set.
        :param cert: certificate of the connection.
        """
        peer = replace(
            fields.pop("peer", LOCAL),
            certificate=octets_of(cert),
            chain=chain,
            channel_bindings=fields.pop("bindings", (BINDING,)),
        )
        raw = fields.pop("raw", False)
        if body and not raw:
            body = base64.encodebytes(body)
        exchange = Exchange(
            transport="http",
            alias=fields.pop("alias", "default"),
            operation=operation,
            method=fields.pop("method", "POST" if body else "GET"),
            headers={
                "user-agent": "test",
                **(user or {}),
                **fields.pop("headers", {}),
            },
            body=body,
            peer=peer,
        )
        assert not fields
        return result_of(self.responder.respond(exchange))

    def enroll(self, body: bytes | None = None, **fields: Any) -> Reply:
        fields.setdefault("user", basic() if "cert" not in fields else None)
        return self.ask("simpleenroll", body or csr(new_key()), **fields)

    def holder(
        self, subject: str = "CN=device-1,O=pkid test", **request: Any
    ) -> tuple[Any, x509.Certificate]:
        """A key and its certificate of this PKI."""
        key = new_key()
        (certificate,) = certificates(self.enroll(csr(key, subject, **request)))
        return key, certificate

    def revoke(self, certificate: x509.Certificate) -> None:
        request = RevocationRequest(
            reference=CertificateReference("issuing", certificate.serial_number),
            reason=RevocationReason.KEY_COMPROMISE,
            requester=OPERATOR_REQUESTER,
            context=EST,
        )
        result_of(self.world.engine.revoke(request))

    def approve(self) -> None:
        for waiting in result_of(self.world.store.list_approvals()):
            result_of(
                self.world.engine.administration.approve(
                    waiting.id, "uid:1001", "", EST
                )
            )

    def advance(self, **period: float) -> None:
        self.world.clock.advance(timedelta(**period))
