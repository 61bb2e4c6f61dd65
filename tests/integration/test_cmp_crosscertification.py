"""A daemon with an entrance for CAs of other PKIs, as docs/cmp.md sets it up."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkid.asn1 import oids
from pkid.asn1.names import Name
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.messages.cmp.body import BodyType
from pkid.messages.crmf import OptionalValidity
from tests.responders.peers import (
    Answer,
    BySignature,
    cert_conf,
    cert_requests,
    follow,
    message,
    polling,
    signed_request,
)
from tests.responders.test_cmp_crosscertification import PARTNER, authority
from tests.support.cmpclient import certificate_hash
from tests.support.daemon import Daemon, running

PATH = "/.well-known/cmp/p/partners"


def ask(daemon: Daemon, octets: bytes) -> Answer:
    with daemon.http_wire(path=PATH) as wire:
        answer = Answer.read(wire.exchange(octets))
    answer.check_signature()
    return answer


def ccr(partner: BySignature, root: x509.Certificate, now: datetime.datetime) -> bytes:
    request = signed_request(
        partner.key,
        PARTNER,
        version=2,
        signing_alg=AlgorithmIdentifier(oids.ECDSA_WITH_SHA256),
        issuer=Name.decode(root.subject.public_bytes()).der,
        validity=OptionalValidity(now, now + datetime.timedelta(days=90)),
    )
    return message(BodyType.CCR, cert_requests(request), partner).octets


@pytest.mark.requirement("CMP-145")
def test_a_partner_is_certified_once_an_operator_agrees(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    partner = authority(now)
    anchor = tmp_path / "partner-root.pem"
    anchor.write_bytes(partner.parsed.public_bytes(Encoding.PEM))
    settings = (
        f'vendor.partner = {{ anchors = ["{anchor}"] }}',
        'cmp.alias.partners = { authority = "root", certificate_profile = "sub-ca", '
        'approval = "operator", cross_certify = ["partner"] }',
    )
    with running(tmp_path, settings=settings) as daemon:
        root = x509.load_der_x509_certificate(root_of(daemon))
        waiting = ask(daemon, ccr(partner, root, now))
        assert waiting.body_type is BodyType.CCP
        for view in daemon.ask_tool("request", "list"):
            daemon.tool("request", "approve", view["id"])
        poll = follow(waiting, BodyType.POLL_REQ, polling(), partner)
        ready = ask(daemon, poll.octets)
        issued = x509.load_der_x509_certificate(ready.certificate)
        issued.verify_directly_issued_by(root)
        assert issued.subject == partner.parsed.subject
        conf = cert_conf(certificate_hash(ready.certificate))
        sent = follow(ready, BodyType.CERT_CONF, conf, partner)
        assert ask(daemon, sent.octets).body_type is BodyType.PKICONF


def root_of(daemon: Daemon) -> bytes:
    with daemon.http_wire() as wire:
        return wire.get("/certificates/root.cer").body
