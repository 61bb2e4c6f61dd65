"""What a stranger can make us do before anybody knows who it is: little."""

from __future__ import annotations

import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.defer import Deferred, fail

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto import signatures
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.header import MAX_INFO_VALUES, InfoTypeAndValue
from pkid.messages.cmp.lists import MAX_CERTIFICATES
from pkid.messages.cmp.status import FailInfo
from pkid.messages.crmf import MAX_CERT_REQ_MSGS
from pkid.responders.cmp.responder import CMPResponder
from tests.responders.desk import Desk
from tests.responders.peers import (
    Answer,
    ByMAC,
    BySignature,
    Sent,
    cert_requests,
    foreign_certificate,
    message,
    new_key,
    pbm,
    signed_request,
    spki_of,
)
from tests.responders.test_cmp_failures import pbm_with


def ir(by: Any = None, **header: Any) -> Sent:
    body = cert_requests(signed_request(new_key()))
    return message(BodyType.IR, body, by or ByMAC(), **header)


def unreadable(desk: Desk, octets: bytes) -> None:
    reply = desk.reply(octets)
    assert reply.status == 400
    assert Answer.read(reply.body).fail_info is FailInfo.BAD_DATA_FORMAT
    assert desk.count() == 0


@pytest.mark.requirement("CMP-191")
def test_more_than_32_extraCerts_are_badDataFormat(desk: Desk) -> None:
    certificate = foreign_certificate(new_key(), at=desk.world.clock.now())
    many = (certificate,) * MAX_CERTIFICATES
    assert desk.ask(ir(extra_certs=many)).certificate
    before = desk.count()
    reply = desk.reply(ir(extra_certs=(*many, certificate)).octets)
    assert reply.status == 400
    assert Answer.read(reply.body).fail_info is FailInfo.BAD_DATA_FORMAT
    assert desk.count() == before


@pytest.mark.requirement("CMP-191")
def test_more_than_64_pieces_of_information_are_badDataFormat(desk: Desk) -> None:
    info = InfoTypeAndValue("1.2.3.4", der.NULL)
    unreadable(desk, ir(general_info=(info,) * (MAX_INFO_VALUES + 1)).octets)
    assert desk.ask(ir(general_info=(info,) * MAX_INFO_VALUES)).certificate


@pytest.mark.requirement("CMP-191")
def test_more_than_16_requests_in_a_body_are_badDataFormat(desk: Desk) -> None:
    key = new_key()
    many = [signed_request(key, cert_req_id=n) for n in range(MAX_CERT_REQ_MSGS + 1)]
    answer = desk.ask(message(BodyType.IR, cert_requests(*many), ByMAC()))
    assert answer.fail_info is FailInfo.BAD_DATA_FORMAT


@pytest.mark.requirement("CMP-191")
def test_nesting_is_not_followed(desk: Desk) -> None:
    octets = der.NULL
    for _ in range(1000):
        octets = der.sequence(octets)
    info = InfoTypeAndValue("1.2.3.4", octets)
    assert desk.ask(ir(general_info=(info,))).certificate
    body = message(BodyType.NESTED, octets, ByMAC())
    assert desk.ask(body).fail_info is FailInfo.WRONG_INTEGRITY
    body = message(BodyType.NESTED, octets, desk.holder())
    refusals = {FailInfo.NOT_AUTHORIZED, FailInfo.BAD_DATA_FORMAT}
    assert desk.ask(body).fail_info in refusals


@pytest.mark.requirement("CMP-191")
def test_indefinite_lengths_without_end_are_badDataFormat(desk: Desk) -> None:
    unreadable(desk, b"\x30\x80" * 60_000 + b"\x00\x00" * 60_000)


@pytest.mark.requirement("CMP-191")
@pytest.mark.parametrize("iterations", [100_001, 2**31, 2**64])
def test_a_mac_above_the_limit_is_refused_before_anything_is_derived(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, iterations: int
) -> None:
    def derived(*_: Any) -> Any:
        raise AssertionError("a key was derived")

    monkeypatch.setattr("pkid.responders.cmp.protection.derive_mac_key", derived)
    answer = desk.ask(ir(protection_alg=pbm_with(os.urandom(16), iterations)))
    assert answer.fail_info is FailInfo.BAD_ALG
    assert desk.workers.runs == 0


@pytest.mark.requirement("CMP-191")
def test_a_dear_derivation_is_paced(desk: Desk) -> None:
    assert desk.ask(ir(ByMAC(parameters=pbm(500)))).certificate
    assert desk.workers.paced == 0
    assert desk.ask(ir(ByMAC(parameters=pbm(20_000)))).certificate
    assert desk.workers.paced == 1


class Full:
    """Workers whose queue is full."""

    def run(self, *_: Any, **__: Any) -> Deferred[Any]:
        return fail(PKIError(ErrorCode.BUSY, "too much waits", retry_after=1))

    def pace(self, _: Any) -> Deferred[Any]:
        return self.run()


@pytest.mark.requirement("CMP-191")
def test_overload_is_systemUnavail_with_a_time(desk: Desk) -> None:
    world = desk.world
    desk.responder = CMPResponder(
        world.engine,
        desk.responder._aliases,
        policies=lambda: world.policies,
        clock=world.clock,
        workers=Full(),
    )
    answer = desk.ask(ir(ByMAC(parameters=pbm(20_000))))
    assert answer.fail_info is FailInfo.SYSTEM_UNAVAIL
    assert answer.status.strings == ("too much waits; try again in 1 seconds",)
    assert desk.ask(ir()).certificate


@pytest.mark.requirement("CMP-191")
def test_one_signature_is_checked_however_many_certificates_fit_the_sender(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[int] = []
    verify = signatures.verify_signature

    def counted(*given: Any, **named: Any) -> None:
        checked.append(1)
        verify(*given, **named)

    for module in ("signatures", "publickeys"):
        monkeypatch.setattr(f"pkid.crypto.{module}.verify_signature", counted)
    at = desk.world.clock.now()
    others = tuple(foreign_certificate(new_key(), at=at) for _ in range(31))
    key = new_key()
    by = BySignature(foreign_certificate(key, at=at), key, chain=others)
    answer = desk.ask(ir(by))
    assert answer.fail_info is FailInfo.SIGNER_NOT_TRUSTED
    assert len(checked) == 1


def signer_with(desk: Desk, spki: bytes) -> tuple[BySignature, bytes]:
    """A signer whose certificate holds another key than its own."""
    key = new_key()
    certificate = foreign_certificate(key, at=desk.world.clock.now())
    own = spki_of(key)
    assert certificate.count(own) == 1
    tbs = der.single(certificate, der.SEQUENCE)
    cursor = der.Cursor(tbs)
    inside = cursor.take(der.SEQUENCE).replace(own, spki)
    rest = tbs[cursor.position :]
    return BySignature(certificate, key), der.sequence(der.sequence(inside), rest)


@pytest.mark.requirement("CMP-191")
@pytest.mark.parametrize("bits", [512, 16_392, 32_000])
def test_an_rsa_key_out_of_bounds_is_badAlg(desk: Desk, bits: int) -> None:
    modulus = (1 << bits - 1) | 1
    rsa_key = der.sequence(der.integer(modulus), der.integer(65537))
    algorithm = AlgorithmIdentifier(oids.RSA_ENCRYPTION, der.NULL)
    spki = der.sequence(algorithm.encode(), der.bit_string(rsa_key))
    by, certificate = signer_with(desk, spki)
    sent = ir(
        by,
        extra_certs=(certificate,),
        protection_alg=AlgorithmIdentifier(oids.SHA256_WITH_RSA_ENCRYPTION, der.NULL),
    )
    assert desk.ask(sent).fail_info is FailInfo.BAD_ALG


@pytest.mark.requirement("CMP-191")
def test_a_curve_without_a_name_is_no_signers_key(desk: Desk) -> None:
    numbers = der.sequence(der.integer(1), der.sequence(der.NULL))
    algorithm = AlgorithmIdentifier(oids.ID_EC_PUBLIC_KEY, numbers)
    point = spki_of(new_key())[-65:]
    spki = der.sequence(algorithm.encode(), der.bit_string(point))
    by, certificate = signer_with(desk, spki)
    answer = desk.ask(ir(by, extra_certs=(certificate,)))
    assert answer.fail_info is FailInfo.BAD_ALG


def test_an_ordinary_rsa_key_is_within_bounds(desk: Desk) -> None:
    key = rsa.generate_private_key(65537, 2048).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    by, certificate = signer_with(desk, spki)
    sent = ir(
        by,
        extra_certs=(certificate,),
        protection_alg=AlgorithmIdentifier(oids.SHA256_WITH_RSA_ENCRYPTION, der.NULL),
    )
    assert desk.ask(sent).fail_info is FailInfo.BAD_MESSAGE_CHECK
