"""Broken messages by the ten thousand: always an answer, never a certificate."""

from __future__ import annotations

import copy
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from pkid.asn1 import oids
from pkid.asn1.names import Name
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.agreedmac import DHBMParameters
from pkid.crypto.algorithms import hash_algorithm
from pkid.crypto.envelope import PasswordRecipient, encrypt
from pkid.messages.cmp.body import (
    BodyType,
    CertReqMessages,
    ErrorMsgContent,
    GenMsgContent,
)
from pkid.messages.cmp.challenge import POPODecKeyRespContent
from pkid.messages.cmp.header import InfoTypeAndValue
from pkid.messages.cmp.message import PKIMessage
from pkid.messages.cmp.status import PKIStatus, PKIStatusInfo
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
    PKMACValue,
    SubsequentMessage,
)
from pkid.messages.encryptedkeys import EncKeyWithID, EnvelopedKey
from pkid.messages.privkeyproofs import PrivKeyProof, make_popo
from tests.robustness.cmpbodies import other_bodies
from tests.support.breaking import (
    TRANSACTION_ID,
    Probe,
    Protector,
    Report,
    as_it_is,
    break_over_every_way,
    look_again,
)
from tests.support.cmpclient import Client, Request
from tests.support.daemon import Daemon, running
from tests.support.mutator import Mutant, Mutator, Specimen
from tests.support.processes import resident
from tests.support.wires import TCPWire

pytestmark = pytest.mark.robustness

SEED = 20261123
COUNT = 10_000
VECTORS = Path(__file__).parents[1] / "vectors" / "cmp"
WAITING = (
    'cmp.alias.waiting = { authority = "issuing", approval = "operator", '
    'authenticate = ["mac", "certificate"], key_generation = true, '
    'key_archive = true, key_recovery = "self", kem = true, agreement = true, '
    "encrypted_value = true, maximum_iterations = 5000, "
    'possession = ["signature", "encrypted-certificate", "challenge", '
    '"agreed-mac", "encrypted-key"] }'
)
DEFAULT, QUEUE = "/.well-known/cmp/p/default", "/.well-known/cmp/p/waiting"
GROWTH_OCTETS = 64 << 20
SALT = bytes(range(16))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The default alias over HTTP and TCP; over both again, one that never issues."""
    tcp = 'listener.waiting-tcp = { endpoint = "tcp:0:interface=127.0.0.1", '
    tcp += 'serves = ["cmp-tcp"], alias = "waiting" }'
    folder = tmp_path_factory.mktemp("mutants")
    with running(folder, settings=(WAITING, tcp, 'log.level="warn"')) as daemon:
        yield daemon


def issued(daemon: Daemon) -> int:
    uri = f"file:{daemon.state / 'pkid.sqlite'}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        (count,) = database.execute("SELECT count(*) FROM certificates").fetchone()
    return int(count)


def exchanged(daemon: Daemon) -> list[tuple[str, bytes]]:
    """Messages of every kind that this daemon has answered: their ids are used up."""
    client = Client(daemon.added_credential())
    subject = f"CN=seed-{os.urandom(4).hex()}"
    found: list[tuple[str, bytes]] = []
    with daemon.http_wire() as wire:

        def send(name: str, request: Request) -> bytes:
            found.append((name, request.octets))
            return wire.exchange(request.octets)

        request = client.enrol(subject, implicit_confirm=False)
        answer = client.read(send("ir", request), request)
        send("certConf", client.confirm(answer))
        assert answer.certificate is not None
        send("cr", client.enrol(subject, body_type=BodyType.CR))
        send("genm", client.ask("1.3.6.1.5.5.7.4.2", "1.3.6.1.5.5.7.4.17"))
        send("rr", client.revoke(answer.certificate, 6))
        send("pollReq", client.poll(answer))
        status = PKIStatusInfo(PKIStatus.REJECTION, ("no more",))
        send("error", client.follow(answer, BodyType.ERROR, ErrorMsgContent(status)))
    return found


def recorded() -> list[tuple[str, bytes]]:
    """Messages of OpenSSL's client."""
    return [(path.stem, path.read_bytes()) for path in sorted(VECTORS.glob("*-req*"))]


def specimens(messages: list[tuple[str, bytes]]) -> list[Specimen]:
    return [Specimen.take_apart(name, octets) for name, octets in messages]


def parts(client: Client) -> list[tuple[str, bytes]]:
    """Header and body of messages that nobody has sent."""
    known = {"transaction_id": TRANSACTION_ID}
    error = ErrorMsgContent(PKIStatusInfo(PKIStatus.REJECTION, ("x",)))
    types = GenMsgContent(
        tuple(InfoTypeAndValue(f"1.3.6.1.5.5.7.4.{number}") for number in (2, 6, 17))
    )
    messages = [
        ("ir", client.enrol("CN=part", **known)),
        ("cr", client.enrol("CN=part", body_type=BodyType.CR, **known)),
        ("ir, confirmed", client.enrol("CN=part", implicit_confirm=False, **known)),
        ("kur", client.enrol("CN=part", body_type=BodyType.KUR, **known)),
        ("genm", client.send(BodyType.GENM, types, **known)),
        ("error", client.send(BodyType.ERROR, error, **known)),
        *key_messages(client),
        *other_bodies(client),
    ]
    return [
        (name, PKIMessage.decode(request.octets).protected_part)
        for name, request in messages
    ]


def key_messages(client: Client) -> list[tuple[str, Request]]:
    """Requests whose keys do not sign, are made there, or come along."""
    key = rsa.generate_private_key(65537, 2048)
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    spki = key.public_key().public_bytes(*form)
    pkcs8 = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    enveloped = encrypt(
        EncKeyWithID(pkcs8, client.credential.sender_kid.decode()).encode(),
        (PasswordRecipient(password=b"whatever it is", iterations=100),),
        os.urandom,
        content_type=oids.ID_CT_ENC_KEY_WITH_ID,
    )
    held = EnvelopedKey(enveloped.encode())
    mac = DHBMParameters(
        hash_algorithm("sha256"), AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256)
    )
    use = KeyUse.KEY_ENCIPHERMENT
    proofs: dict[str, PrivKeyProof] = {
        "encrCert": SubsequentMessage.ENCR_CERT,
        "challengeResp": SubsequentMessage.CHALLENGE_RESP,
        "agreeMAC": PKMACValue(mac.algorithm, bytes(32)),
        "encryptedKey": held,
    }

    def ask(name: str, request: CertReqMsg, body: BodyType = BodyType.IR) -> Any:
        content = CertReqMessages((request,))
        return name, client.send(body, content, transaction_id=TRANSACTION_ID, pvno=3)

    subject = Name.from_text("CN=part").der
    template = CertTemplate(subject=subject, spki=spki)
    reply = PROTOCOL_ENCR_KEY.attribute(spki)
    archive = PKI_ARCHIVE_OPTIONS.attribute(held)
    made = PKI_ARCHIVE_OPTIONS.attribute(ArchiveRemGenPrivKey(wanted=True))
    without = CertTemplate(subject=subject)
    numbers = POPODecKeyRespContent((2**127, 5))
    return [
        *(
            ask(name, CertReqMsg(CertRequest.build(0, template), make_popo(use, one)))
            for name, one in proofs.items()
        ),
        ask("key", CertReqMsg(CertRequest.build(0, without, (reply, made)))),
        ask("archive", CertReqMsg(CertRequest.build(0, template, (archive,)))),
        ask("krr", CertReqMsg(CertRequest.build(0, without, (reply,))), BodyType.KRR),
        (
            "popdecr",
            client.send(
                BodyType.POPDECR, numbers, transaction_id=TRANSACTION_ID, pvno=3
            ),
        ),
    ]


def run(
    daemon: Daemon,
    mutants: Iterator[Mutant],
    path: str,
    finish: Callable[[Mutant], bytes] = as_it_is,
) -> Report:
    """Send mutants while another client asks small things; judge the daemon after."""
    before = issued(daemon)
    memory = resident(daemon.pid)
    report = Report()
    with Probe(daemon) as probe:
        break_over_every_way(daemon, mutants, path, report, finish)
    print(
        f"\nseed {SEED}: {report}; a small question took "
        f"{probe.percentile(0.5) * 1000:.1f} ms (p99 "
        f"{probe.percentile(0.99) * 1000:.1f}, worst "
        f"{max(probe.latencies) * 1000:.1f})"
    )
    assert not probe.failure, probe.failure
    assert look_again(daemon, path, report, finish) == []
    assert issued(daemon) == before, "a broken message got a certificate"
    assert "Traceback" not in daemon.log, daemon.log[-4000:]
    assert resident(daemon.pid) - memory < GROWTH_OCTETS
    return report


@pytest.mark.requirement("SEC-92")
def test_mutants_of_sent_messages_are_answered_and_get_nothing(
    daemon: Daemon, soak_factor: int
) -> None:
    found = specimens([*exchanged(daemon), *recorded()])
    count = COUNT * soak_factor * 6 // 10
    run(daemon, Mutator(found, SEED).mutants(count), DEFAULT)


@pytest.mark.requirement("SEC-92")
def test_mutants_with_a_right_mac_are_answered_and_get_nothing(
    daemon: Daemon, soak_factor: int
) -> None:
    protector = Protector(daemon.added_credential(), SALT)
    found = specimens(parts(Client(protector.credential)))
    count = COUNT * soak_factor * 4 // 10
    mutants = Mutator(found, SEED).mutants(2 * count)
    kept = islice(filter(protector.keeps_protection, mutants), count)
    report = run(queue_of(daemon), kept, QUEUE, protector.finish)
    past = sum(
        count
        for name, count in report.verdicts.items()
        if "BAD_MESSAGE_CHECK" not in name and "BAD_DATA_FORMAT" not in name
    )
    assert past > report.count // 10, "hardly any mutant got past the protection"


def queue_of(daemon: Daemon) -> Daemon:
    """The same daemon, its TCP door that of the alias which never issues."""
    found = copy.copy(daemon)
    found.tcp_listener = "waiting-tcp"
    return found


@pytest.mark.requirement("SEC-12")
def test_broken_streams_are_answered_or_closed(
    daemon: Daemon, soak_factor: int
) -> None:
    """Mutated record heads; the client leaves when it has sent them."""
    choice = random.Random(SEED)
    message = dict(exchanged(daemon))["genm"]
    for _ in range(300 * soak_factor):
        head = bytearray((len(message) + 3).to_bytes(4, "big") + b"\x0a\x00\x00")
        for _ in range(choice.choice((1, 1, 2, 4))):
            head[choice.randrange(7)] = choice.randrange(256)
        with TCPWire(daemon.tcp.address) as wire:
            wire.send(bytes(head) + message)
            wire.finish_sending()
            wire.receive_rest()
    with daemon.tcp_wire() as wire:
        assert wire.exchange(message)
    assert "Traceback" not in daemon.log, daemon.log[-4000:]
