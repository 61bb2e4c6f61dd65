"""Certificate stores of RFC 4387, bundles, and EJBCA's certdist."""

from __future__ import annotations

import base64
import hashlib
from email import message_from_bytes
from urllib.parse import urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from pkid.asn1 import der
from pkid.responders.base import Exchange, Reply
from pkid.responders.status.responder import StatusResponder
from tests.engine.world import CMP, World, result_of
from tests.responders.desk import Desk


@pytest.fixture
def world(desk: Desk) -> World:
    return desk.world


def get(world: World, operation: str, query: str = "", name: str = "") -> Reply:
    responder = StatusResponder(world.engine, world.clock)
    exchange = Exchange(
        transport="http",
        alias=name,
        operation=operation,
        method="GET",
        query=query,
        body=b"",
    )
    return result_of(responder.respond(exchange))


def key(octets: bytes) -> str:
    return base64.b64encode(hashlib.sha1(octets).digest()).decode().rstrip("=")


def keys_of(octets: bytes) -> dict[str, str]:
    """What a client knows of a certificate, in RFC 4387's words."""
    one = x509.load_der_x509_certificate(octets)
    issuer = one.issuer.public_bytes()
    identifier = one.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    common_name = one.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0]
    return {
        "certHash": key(octets),
        "iAndSHash": key(der.sequence(issuer, der.integer(one.serial_number))),
        "sHash": key(one.subject.public_bytes()),
        "sKIDHash": key(identifier.value.digest),
        "name": str(common_name.value),
        "uri": str(common_name.value),
    }


@pytest.mark.requirement("ENG-33")
@pytest.mark.parametrize("name", ["root", "issuing"])
def test_a_ca_certificate_is_found_by_every_attribute(world: World, name: str) -> None:
    octets = world.engine.authority_certificate(name)
    for attribute, value in keys_of(octets).items():
        query = urlencode({"x-further": "word", attribute: value})
        reply = get(world, "certificate-search", query)
        assert (reply.status, reply.body) == (200, octets), attribute
        assert reply.content_type == "application/pkix-cert"


@pytest.mark.requirement("ENG-33")
def test_several_certificates_come_as_parts(world: World) -> None:
    root = world.engine.authority_certificate("root")
    query = urlencode({"iHash": keys_of(root)["sHash"]})
    reply = get(world, "certificate-search", query)
    head = f"Content-Type: {reply.content_type}\r\n\r\n".encode("ascii")
    parts = message_from_bytes(head + reply.body).get_payload()
    assert isinstance(parts, list)
    assert len(parts) == 2
    # The e-mail parser knows no binary parts; the octets stand there as they are.
    for name in ("root", "issuing"):
        assert world.engine.authority_certificate(name) in reply.body


@pytest.mark.requirement("ENG-33")
@pytest.mark.parametrize("name", ["root", "issuing"])
def test_the_latest_crl_is_found_by_its_issuer(world: World, name: str) -> None:
    keys = keys_of(world.engine.authority_certificate(name))
    for attribute, value in (("iHash", keys["sHash"]), ("sKIDHash", keys["sKIDHash"])):
        reply = get(world, "crl-search", urlencode({attribute: value}))
        assert reply.body == result_of(world.engine.latest_crl(name)).der
        assert reply.content_type == "application/pkix-crl"


@pytest.mark.requirement("ENG-33")
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("other=x", 400),
        ("sHash=", 400),
        ("sHash=abc%3D", 400),
        ("sHash=a%27%3B+DROP", 400),
        ("sHash=" + "a" * 65, 400),
        ("sHash=AAAAAAAAAAAAAAAAAAAAAAAAAAA", 404),
        ("name=nobody", 404),
        ("&".join(f"a{n}=1" for n in range(17)), 400),
    ],
)
def test_what_is_no_search_key_is_refused(
    world: World, query: str, status: int
) -> None:
    assert get(world, "certificate-search", query).status == status


def test_certificates_of_end_entities_are_not_handed_out(world: World) -> None:
    issued = world.issue(world.request(world.secret()))
    for attribute, value in keys_of(issued.der).items():
        if attribute != "uri":
            query = urlencode({attribute: value})
            assert get(world, "certificate-search", query).status == 404, attribute


@pytest.mark.requirement("ENG-33")
def test_a_bundle_holds_the_certificates_above_too(world: World) -> None:
    reply = get(world, "certificate-bundle", name="issuing")
    assert reply.content_type == "application/pkcs7-mime"
    found = pkcs7.load_der_pkcs7_certificates(reply.body)
    wanted = [world.engine.authority_certificate(one) for one in ("issuing", "root")]
    assert set(found) == set(map(x509.load_der_x509_certificate, wanted))
    assert get(world, "certificate-bundle", name="nobody").status == 404


# --- EJBCA --------------------------------------------------------------------------


@pytest.mark.requirement("ENG-33")
@pytest.mark.parametrize(
    "issuer", ["CN=pkid issuing,O=pkid test", "O=pkid test, CN=pkid issuing"]
)
def test_certdist_gives_crls(world: World, issuer: str) -> None:
    query = {"cmd": "crl", "issuer": issuer}
    reply = get(world, "certdist", urlencode(query))
    record = result_of(world.engine.latest_crl("issuing"))
    assert reply.body == record.der
    assert reply.content_type == "application/pkix-crl"
    pem = get(world, "certdist", urlencode({**query, "format": "PEM"}))
    loaded = x509.load_pem_x509_crl(pem.body)
    assert loaded == x509.load_der_x509_crl(record.der)


@pytest.mark.requirement("ENG-33")
def test_certdist_gives_ca_certificates(world: World) -> None:
    query = {"issuer": "CN=pkid issuing,O=pkid test"}
    for level, name in enumerate(("issuing", "root")):
        octets = world.engine.authority_certificate(name)
        asked = {**query, "cmd": "cacert", "level": level}
        pem = get(world, "certdist", urlencode(asked))
        loaded = x509.load_pem_x509_certificate(pem.body)
        assert loaded == x509.load_der_x509_certificate(octets)
        for command, media_type in (
            ("nscacert", "application/x-x509-ca-cert"),
            ("iecacert", "application/octet-stream"),
        ):
            reply = get(world, "certdist", urlencode({**asked, "cmd": command}))
            assert (reply.body, reply.content_type) == (octets, media_type)
    assert get(world, "certdist", urlencode({**asked, "level": 2})).status == 404


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("cmd=crl", 400),
        ("cmd=lastcert&issuer=CN%3Dx", 400),
        ("cmd=crl&issuer=nonsense", 400),
        ("cmd=crl&issuer=CN%3Dnobody", 404),
        ("cmd=deltacrl&issuer=CN%3Dpkid+issuing,O%3Dpkid+test", 404),
        ("cmd=crl&issuer=CN%3Dpkid+issuing,O%3Dpkid+test&partition=7", 404),
        ("cmd=crl&issuer=CN%3Dpkid+issuing,O%3Dpkid+test&partition=x", 400),
        ("cmd=cacert&issuer=CN%3Dpkid+issuing,O%3Dpkid+test&level=-1", 400),
    ],
)
def test_what_certdist_does_not_have_is_refused(
    world: World, query: str, status: int
) -> None:
    assert get(world, "certdist", query).status == status


def test_of_a_line_the_last_answers_to_its_name(world: World) -> None:
    prepared = result_of(world.engine.rollover.prepare("issuing", "", CMP))
    result_of(world.engine.refresh_crls())
    query = urlencode({"cmd": "crl", "issuer": "CN=pkid issuing,O=pkid test"})
    reply = get(world, "certdist", query)
    assert reply.body == result_of(world.engine.latest_crl(prepared.name)).der
