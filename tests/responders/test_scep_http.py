"""SCEP's HTTP: what clients do to URLs, bodies and base64, and what they get."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509

from pkid.responders.base import Reply
from pkid.transports.site import Site, scep_routes
from tests.responders.scepdesk import SCEPDesk, kind, known_key
from tests.support import scepclient

MESSAGE = "application/x-pki-message"


class Nobody:
    """A responder that is only looked for."""

    async def respond(self, exchange: Any) -> Reply:
        return Reply()


def found(path: str) -> tuple[str, str] | None:
    """Key of the responder, and the alias, that a path leads to."""
    site = Site({"scep": Nobody(), "ndes": Nobody()}, scep_routes(default_alias="d"))
    target = site.find(path)
    return None if target is None else (target.route.responder, target.alias)


@pytest.mark.requirement("SCEP-01", "SCEP-50")
@pytest.mark.parametrize(
    ("path", "alias"),
    [
        ("/scep", "d"),
        ("/scep/", "d"),
        ("/scep/pkiclient.exe", "d"),
        ("/cgi-bin/pkiclient.exe", "d"),
        ("/certsrv/mscep/mscep.dll", "d"),
        ("/certsrv/mscep/mscep.dll/pkiclient.exe", "d"),
        ("/CertSrv/mscep/MSCEP.DLL", "d"),
        ("/ejbca/publicweb/apply/scep/pkiclient.exe", "d"),
        ("/ejbca/publicweb/apply/scep/phones/pkiclient.exe", "phones"),
        ("/scep/phones", "phones"),
        ("/scep/phones/", "phones"),
        ("/scep/phones/pkiclient.exe", "phones"),
        ("/scep/phones/PKICLIENT.EXE", "phones"),
        ("/SCEP/Phones/cgi-bin/pkiclient.exe", "phones"),
        ("/scep/phones/any/tail/at%20all", "phones"),
    ],
)
def test_every_form_of_the_url_leads_to_its_entrance(path: str, alias: str) -> None:
    assert found(path) == ("scep", alias)


@pytest.mark.requirement("SCEP-50")
@pytest.mark.parametrize(
    ("path", "alias"),
    [
        ("/certsrv/mscep_admin", "d"),
        ("/certsrv/mscep_admin/", "d"),
        ("/CERTSRV/mscep_admin/mscep.dll", "d"),
        ("/scep/phones/mscep_admin/", "phones"),
    ],
)
def test_the_page_of_challenges_has_its_urls(path: str, alias: str) -> None:
    assert found(path) == ("ndes", alias)


@pytest.mark.requirement("SCEP-02")
@pytest.mark.parametrize(
    "path", ["/scep:8081/pkiclient.exe", "/pkiclient.exe", "/scep/..%2fx/pkiclient.exe"]
)
def test_other_paths_lead_nowhere(path: str) -> None:
    assert found(path) is None


# --- GET and POST ------------------------------------------------------------------


def spoiled(octets: bytes) -> list[str]:
    """A message in a query as clients are known to write it."""
    text = base64.b64encode(octets).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return [
        quote(text, safe=""),
        text,
        text.replace("=", ""),
        quote(lines, safe=""),
        quote(lines.replace("\n", "\r\n"), safe=""),
        quote(quote(text, safe=""), safe=""),
        base64.urlsafe_b64encode(octets).decode(),
        quote(text, safe="+/"),
    ]


@pytest.mark.requirement("SCEP-05", "SCEP-06")
@pytest.mark.parametrize(
    "form",
    range(8),
    ids=["escaped", "bare", "unpadded", "lf", "crlf", "twice", "urlsafe", "plus"],
)
def test_a_message_in_the_query_is_read_however_it_is_written(
    scep: SCEPDesk, form: int
) -> None:
    # A plus sign or slash is bound to be among so many digits.
    octets = scep.request().encode()
    query = f"operation=PKIOperation&message={spoiled(octets)[form]}"
    assert scep.read(scep.reply(query=query), known_key()).status == 0


@pytest.mark.requirement("SCEP-01", "SCEP-06")
@pytest.mark.parametrize("name", ["PKIOperation", "pkioperation", "PKIOPERATION"])
def test_operations_are_read_in_any_case(scep: SCEPDesk, name: str) -> None:
    octets = scep.request().encode()
    for query in (f"operation={name}", f"OPERATION={name}&x=y"):
        reply = scep.reply(method="POST", query=query, body=octets)
        assert scep.read(reply, known_key()).status == 0


@pytest.mark.requirement("SCEP-04", "SCEP-08")
@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/octet-stream",
        "application/x-pki-message",
        "application/x-www-form-urlencoded",
        "text/html",
    ],
)
@pytest.mark.parametrize("query", ["operation=PKIOperation", "", "message=ignored"])
def test_a_post_is_taken_whatever_it_calls_itself(
    scep: SCEPDesk, content_type: str | None, query: str
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    octets = scep.request().encode()
    reply = scep.reply(method="POST", query=query, headers=headers, body=octets)
    assert scep.read(reply, known_key()).status == 0


@pytest.mark.requirement("SCEP-04")
@pytest.mark.parametrize("form", ["base64", "lines", "pem"])
def test_a_post_of_base64_is_taken(scep: SCEPDesk, form: str) -> None:
    octets = scep.request().encode()
    body = base64.b64encode(octets)
    if form != "base64":
        body = base64.encodebytes(octets)
    if form == "pem":
        body = b"-----BEGIN PKCS7-----\n" + body + b"-----END PKCS7-----\n"
    assert scep.read(scep.post(body), known_key()).status == 0


@pytest.mark.requirement("SCEP-09")
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"query": ""}, 400),
        ({"query": "operation=Nothing"}, 400),
        ({"query": "operation=PKIOperation"}, 400),
        ({"query": "operation=PKIOperation&message="}, 400),
        ({"query": "operation=PKIOperation&message=%00%01"}, 400),
        ({"query": "operation=PKIOperation&message=AAAA"}, 400),
        ({"method": "POST", "body": b"\x30\x80"}, 400),
        ({"method": "POST", "body": b"\x30\x03\x02\x01\x00"}, 400),
        ({"method": "POST", "body": b""}, 400),
        ({"alias": "nowhere", "query": "operation=GetCACaps"}, 404),
    ],
)
def test_what_is_no_scep_gets_an_http_status(
    scep: SCEPDesk, fields: dict[str, Any], status: int
) -> None:
    reply = scep.reply(**fields)
    assert reply.status == status
    assert reply.content_type == "text/plain"


@pytest.mark.requirement("SCEP-09", "SCEP-11")
def test_a_failure_is_200_and_not_to_be_kept(scep: SCEPDesk) -> None:
    reply = scep.post(scep.request(challenge="wrong").encode())
    assert reply.status == 200
    assert reply.content_type == MESSAGE
    assert ("Cache-Control", "no-store") in reply.headers


# --- capabilities ------------------------------------------------------------------


def capabilities(scep: SCEPDesk) -> list[str]:
    reply = scep.get("GetCACaps")
    assert reply.content_type == "text/plain"
    assert reply.body.endswith(b"\n")
    return reply.body.decode("ascii").splitlines()


@pytest.mark.requirement("SCEP-13", "SCEP-14", "SEC-26")
def test_capabilities_are_what_is_switched_on(scep: SCEPDesk) -> None:
    default = [
        *("AES", "SHA-256", "SHA-384", "SHA-512", "POSTPKIOperation"),
        *("Renewal", "SCEPStandard"),
    ]
    assert capabilities(scep) == default
    scep.settings.update(allow_sha1=True, allow_des3=True)
    assert capabilities(scep) == ["AES", "DES3", "SHA-1", *default[1:]]
    scep.settings.update(allow_des=True, allow_md5=True)
    assert "MD5" not in capabilities(scep)


@pytest.mark.requirement("SCEP-13")
def test_capabilities_can_be_given(scep: SCEPDesk) -> None:
    scep.settings["capabilities"] = ("AES", "SHA-256")
    assert capabilities(scep) == ["AES", "SHA-256"]


@pytest.mark.requirement("SCEP-15")
@pytest.mark.parametrize(
    "message", ["", "0", "1", "CAIdentifier", "ignored", "default", "%00%ff", "a b"]
)
@pytest.mark.parametrize("operation", ["GetCACaps", "GetCACert", "GetCACertChain"])
def test_a_ca_identifier_is_not_looked_at(
    scep: SCEPDesk, operation: str, message: str
) -> None:
    plain = scep.get(operation)
    assert scep.get(operation, f"&message={message}").body == plain.body
    assert plain.status == 200


# --- CA certificates ---------------------------------------------------------------


def certificates(reply: Reply) -> list[x509.Certificate]:
    found, crls = scepclient.read_certs_only(reply.body)
    assert not crls
    return list(found)


@pytest.mark.requirement("SCEP-10", "SCEP-16", "SCEP-18")
def test_ra_issuing_ca_and_root_come_in_this_order(scep: SCEPDesk) -> None:
    reply = scep.get("GetCACert")
    assert reply.content_type == "application/x-x509-ca-ra-cert"
    ra, ca, root = certificates(reply)
    assert (ra, ca) == (scep.ra, scep.ca)
    assert root.issuer == root.subject == ca.issuer


@pytest.mark.requirement("SCEP-16")
@pytest.mark.parametrize(
    ("setting", "count"), [("chain", 3), ("without-root", 2), ("ra", 1)]
)
def test_less_of_the_chain_is_given_where_that_is_wanted(
    scep: SCEPDesk, setting: str, count: int
) -> None:
    scep.settings["ca_certificates"] = setting
    reply = scep.get("GetCACert")
    assert reply.content_type == "application/x-x509-ca-ra-cert"
    assert len(certificates(reply)) == count


@pytest.mark.requirement("SCEP-19", "SCEP-50")
def test_a_pair_comes_before_the_ca(scep: SCEPDesk) -> None:
    scep.settings["identity"] = kind("pair")
    scep.prepare()
    signing, encryption, ca, _ = certificates(scep.get("GetCACert"))
    assert (signing, encryption, ca) == (scep.ra, scep.encryption, scep.ca)
    assert signing != encryption


@pytest.mark.requirement("SCEP-17")
def test_the_chain_of_old_drafts_is_given(scep: SCEPDesk) -> None:
    reply = scep.get("GetCACertChain")
    assert reply.content_type == "application/x-x509-ca-ra-cert-chain"
    assert certificates(reply)[0] == scep.ra


@pytest.mark.requirement("SCEP-21")
def test_the_next_ca_is_announced_once_it_is_there(scep: SCEPDesk) -> None:
    from tests.engine.world import CMP, result_of

    assert scep.get("GetNextCACert").status == 404
    assert "GetNextCACert" not in capabilities(scep)
    made = result_of(scep.world.engine.rollover.prepare("issuing", "", CMP))
    assert "GetNextCACert" in capabilities(scep)
    reply = scep.get("GetNextCACert")
    assert reply.content_type == "application/x-x509-next-ca-cert"
    content = signed_content(reply.body, scep.ra)
    found, _ = scepclient.read_certs_only(content)
    assert scepclient.der_of(found[0]) == made.certificate


def signed_content(octets: bytes, signer: x509.Certificate) -> bytes:
    """The content of SignedData, by OpenSSL's judgement."""
    import subprocess
    import tempfile

    from cryptography.hazmat.primitives.serialization import Encoding

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "next.der").write_bytes(octets)
        (folder / "ra.pem").write_bytes(signer.public_bytes(Encoding.PEM))
        done = subprocess.run(
            [
                *("openssl", "cms", "-verify", "-binary", "-inform", "DER"),
                *("-in", "next.der", "-noverify", "-certfile", "ra.pem"),
                *("-out", "content.der"),
            ],
            cwd=folder,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return (folder / "content.der").read_bytes()


@pytest.mark.requirement("SCEP-58")
def test_what_a_client_cannot_do_never_lowers_what_is_taken(scep: SCEPDesk) -> None:
    scep.settings["capabilities"] = ("DES3", "SHA-1")
    answer = scep.enroll(digest="sha1")
    assert (answer.status, answer.fail_info) == (2, 0)
