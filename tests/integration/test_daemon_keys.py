"""Keys that a daemon makes, archives and gives back, over restarts and transports."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)

from pkid.asn1.cms.enveloped import EnvelopedData
from pkid.asn1.cms.signed import SignedData
from pkid.asn1.names import Name
from pkid.crypto.decryption import decrypt, decrypt_with_password
from pkid.messages.cmp.body import BodyType, CertReqMessages
from pkid.messages.cmp.challenge import (
    POPODecKeyChallContent,
    POPODecKeyRespContent,
    Rand,
)
from pkid.messages.cmp.message import decode_body
from pkid.messages.cmp.recovery import KeyRecRepContent
from pkid.messages.cmp.status import PKIStatus
from pkid.messages.controls import (
    PKI_ARCHIVE_OPTIONS,
    PROTOCOL_ENCR_KEY,
    ArchiveRemGenPrivKey,
)
from pkid.messages.crmf import (
    CertReqMsg,
    CertRequest,
    CertTemplate,
    KeyUse,
    SubsequentMessage,
)
from pkid.messages.keypackage import decode_key_package
from pkid.messages.privkeyproofs import make_popo
from tests.support.cmpclient import Answer, Client, Request, SignatureCredential
from tests.support.daemon import Daemon, running

SETTINGS = (
    "cmp.alias.default.key_generation=true",
    "cmp.alias.default.key_archive=true",
    'cmp.alias.default.key_recovery="approved"',
)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("keys"), settings=SETTINGS) as found:
        yield found


def spki_of(key: Any) -> bytes:
    octets: bytes = key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return octets


def key_in(enveloped: EnvelopedData, opened: bytes) -> Any:
    """The one key of a signed package."""
    data = SignedData.decode(opened)
    content = data.encapsulated.content
    assert content is not None
    (package,) = decode_key_package(content)
    return load_der_private_key(package.encode(), None)


def over_http(daemon: Daemon, client: Client, request: Request) -> Answer:
    with daemon.http_wire() as wire:
        return client.read(wire.exchange(request.octets), request)


def test_a_key_is_made_archived_and_given_back_once(daemon: Daemon) -> None:
    client = daemon.client()
    control = PKI_ARCHIVE_OPTIONS.attribute(ArchiveRemGenPrivKey(wanted=True))
    template = CertTemplate(subject=Name.from_text("CN=archived-1").der)
    wanted = CertReqMsg(CertRequest.build(0, template, (control,)))
    sent = client.send(BodyType.IR, CertReqMessages((wanted,)), pvno=3)
    answer = over_http(daemon, client, sent)
    body: Any = decode_body(answer.message)
    pair = body.responses[0].certified_key_pair
    enveloped = EnvelopedData.decode(pair.private_key.enveloped)
    secret = daemon.credentials["cmp"]["secret"].encode()
    key = key_in(enveloped, decrypt_with_password(enveloped, secret))
    certificate = x509.load_der_x509_certificate(pair.certificate)
    assert certificate.public_key() == key.public_key()
    over_http(daemon, client, client.confirm(answer))

    daemon.stop()
    daemon.start()
    device = Client(SignatureCredential(certificate, key))
    reply_key = ec.generate_private_key(ec.SECP256R1())
    assert recovered(daemon, device, reply_key) == []
    assert daemon.ask_tool("entity", "recover", "archived-1")["status"] == "KEYRECOVERY"
    (again,) = recovered(daemon, device, reply_key)
    assert again.private_numbers() == key.private_numbers()
    assert recovered(daemon, device, reply_key) == []


def recovered(daemon: Daemon, device: Client, reply_key: Any) -> list[Any]:
    """The keys that a krr brings."""
    control = PROTOCOL_ENCR_KEY.attribute(spki_of(reply_key))
    wanted = CertReqMsg(CertRequest.build(0, CertTemplate(), (control,)))
    sent = device.send(BodyType.KRR, CertReqMessages((wanted,)), pvno=3)
    content = decode_body(over_http(daemon, device, sent).message)
    assert isinstance(content, KeyRecRepContent)
    if content.status.status is not PKIStatus.ACCEPTED:
        return []
    found = []
    for pair in content.key_pair_hist:
        held: Any = pair.private_key
        enveloped = EnvelopedData.decode(held.enveloped)
        opened = decrypt(enveloped, reply_key, secrets.token_bytes)
        found.append(key_in(enveloped, opened))
    return found


@pytest.mark.requirement("CMP-87")
def test_a_challenge_begun_over_tcp_is_answered_over_http_after_a_restart(
    daemon: Daemon,
) -> None:
    client = daemon.client()
    key = rsa.generate_private_key(65537, 2048)
    template = CertTemplate(
        subject=Name.from_text("CN=challenged-1").der, spki=spki_of(key)
    )
    popo = make_popo(KeyUse.KEY_ENCIPHERMENT, SubsequentMessage.CHALLENGE_RESP)
    wanted = CertReqMsg(CertRequest.build(0, template), popo)
    sent = client.send(BodyType.IR, CertReqMessages((wanted,)), pvno=3)
    with daemon.tcp_wire() as wire:
        popdecc = client.read(wire.exchange(sent.octets), sent)
    daemon.stop()
    daemon.start()
    content = decode_body(popdecc.message)
    assert isinstance(content, POPODecKeyChallContent)
    (challenge,) = content.challenges
    enveloped = EnvelopedData.decode(challenge.encrypted_rand or b"")
    rand = Rand.decode(decrypt(enveloped, key, secrets.token_bytes))
    popdecr = client.send(
        BodyType.POPDECR,
        POPODecKeyRespContent((rand.integer,)),
        transaction_id=popdecc.message.header.transaction_id or b"",
        recip_nonce=popdecc.message.header.sender_nonce,
        pvno=3,
    )
    answer = over_http(daemon, client, popdecr)
    assert answer.body_type is BodyType.IP
    assert answer.certificate is not None
    issued = x509.load_der_x509_certificate(answer.certificate)
    assert issued.public_key() == key.public_key()
