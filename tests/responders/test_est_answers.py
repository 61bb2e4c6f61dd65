"""EST: bodies in and out, statuses, what everybody may ask for."""

# ruff: noqa: N815 - componentType is a name of pyasn1

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from pyasn1.codec.der.decoder import decode as pyasn1_decode
from pyasn1.type import namedtype, tag, univ
from pyasn1_alt_modules import rfc5280, rfc5652, rfc7030

from pkid.asn1 import oids
from pkid.engine.profiles import EndEntityProfile, NameField
from pkid.errors import ErrorCode, PKIError
from pkid.responders.est.failures import STATUS, refusal
from tests.engine.world import CMP, result_of
from tests.responders.estdesk import (
    ESTDesk,
    basic,
    certificates,
    csr,
    header,
    new_key,
)


@pytest.mark.requirement("EST-13", "EST-14")
def test_ca_certificates_are_there_for_anybody(est: ESTDesk) -> None:
    reply = est.ask("cacerts")
    chain = est.world.engine.chain("issuing")
    assert set(certificates(reply)) == set(map(x509.load_der_x509_certificate, chain))
    etag = header(reply, "ETag")
    assert etag is not None
    assert est.ask("cacerts", headers={"if-none-match": f'"x", W/{etag}'}).status == 304
    assert est.ask("cacerts", headers={"if-none-match": '"x"'}).status == 200


@pytest.mark.requirement("EST-13")
def test_in_a_rollover_the_link_certificates_are_among_them(est: ESTDesk) -> None:
    before = {one.serial_number for one in certificates(est.ask("cacerts"))}
    rollover = est.world.engine.rollover
    result_of(rollover.prepare("root", "", CMP))
    after = certificates(est.ask("cacerts"))
    assert before < {one.serial_number for one in after}
    roots = {one.subject for one in after if one.issuer == one.subject}
    assert len(roots) == 1
    assert sum(one.issuer == one.subject for one in after) == 4


@pytest.mark.parametrize(
    ("headers", "lines"),
    [
        ({}, "single"),
        ({"user-agent": "libest 3.2.0p"}, "wrapped"),
        ({"accept": "*/*"}, "wrapped"),
    ],
)
@pytest.mark.requirement("EST-08")
def test_base64_stands_as_each_client_reads_it(
    est: ESTDesk, headers: dict[str, str], lines: str
) -> None:
    from pkid.responders.base import Exchange

    def body() -> bytes:
        exchange = Exchange(
            transport="http",
            alias="default",
            operation="cacerts",
            method="GET",
            headers=headers,
            body=b"",
        )
        return result_of(est.responder.respond(exchange)).body

    longest = {"single": 100_000, "wrapped": 64}
    assert body().endswith(b"\r\n")
    assert (max(map(len, body().split(b"\r\n"))) > 64) == (lines == "single")
    for fixed, most in longest.items():
        est.settings["base64"] = fixed
        assert max(map(len, body().split(b"\r\n"))) <= most


@pytest.mark.requirement("EST-11")
def test_each_answer_has_exactly_its_content_type(est: ESTDesk) -> None:
    certs_only = "application/pkcs7-mime; smime-type=certs-only"
    assert est.ask("cacerts").content_type == certs_only
    assert est.ask("crls").content_type == certs_only
    assert est.enroll().content_type == certs_only
    assert est.ask("csrattrs").content_type == "application/csrattrs"
    for reply in (est.ask("cacerts"), est.enroll(), est.ask("csrattrs")):
        assert header(reply, "Content-Transfer-Encoding") == "base64"
    est.settings["transfer_encoding"] = False
    assert header(est.enroll(), "Content-Transfer-Encoding") is None


def bodies(octets: bytes) -> dict[str, bytes]:
    text = base64.b64encode(octets)
    wrapped = base64.encodebytes(octets)
    return {
        "one line": text,
        "wrapped": wrapped,
        "CR LF": wrapped.replace(b"\n", b"\r\n"),
        "tabs and spaces": b" \t".join(text[at : at + 7] for at in range(0, 2000, 7)),
        "no padding": text.rstrip(b"="),
        "leading lines": b"\r\n\r\n" + text,
        "DER": octets,
        "PEM": b"-----BEGIN CERTIFICATE REQUEST-----\n"
        + wrapped
        + b"-----END CERTIFICATE REQUEST-----\n",
        "old PEM": b"-----BEGIN NEW CERTIFICATE REQUEST-----\r\n"
        + wrapped
        + b"-----END NEW CERTIFICATE REQUEST-----",
    }


@pytest.mark.parametrize("form", sorted(bodies(b"")))
@pytest.mark.requirement("EST-08", "EST-09")
def test_a_request_is_read_in_any_form(est: ESTDesk, form: str) -> None:
    body = bodies(csr(new_key(), "CN=device-with-padding"))[form]
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "content-transfer-encoding": "base64",
    }
    assert est.enroll(body, raw=True, headers=headers).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n",
        b"?",
        b"M",
        b"MII!",
        b"AAAA",
        b"\x30",
        b"\x30\x80\x00\x00",
        b"-----BEGIN CERTIFICATE REQUEST-----\n",
        b"-----BEGIN A-----\nMIIB\n-----END B-----\n",
        b"hello, world, this is no request",
    ],
)
@pytest.mark.requirement("EST-07")
def test_what_is_neither_base64_nor_pem_nor_der_is_400(
    est: ESTDesk, body: bytes
) -> None:
    reply = est.ask("simpleenroll", body, raw=True, method="POST", user=basic())
    assert reply.status == 400
    assert reply.content_type == "text/plain"
    assert 5 < len(reply.body) < 200


@pytest.mark.requirement("EST-09")
def test_a_strict_entrance_wants_the_right_media_type(est: ESTDesk) -> None:
    est.settings["strict_content_type"] = True
    given = {"content-type": "Application/PKCS10; x=y"}
    assert est.enroll(headers=given).status == 200
    for other in ({}, {"content-type": "text/plain"}):
        assert est.enroll(headers=other).status == 415


@pytest.mark.requirement("EST-07")
def test_every_code_has_its_status_and_gives_no_hint_away() -> None:
    assert set(STATUS) == set(ErrorCode)
    for code in ErrorCode:
        reply = refusal(PKIError(code, "the cause", hint="for the operator"))
        assert reply.status >= 400
        assert reply.body == b"the cause\n"
        assert (reply.status == 503) == bool(reply.headers)
    busy = refusal(PKIError(ErrorCode.BUSY, "busy", retry_after=9))
    assert busy.headers == (("Retry-After", "9"),)


@pytest.mark.requirement("EST-07")
def test_a_surprise_is_500_without_internals(
    est: ESTDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def surprise(*_: Any) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(est.world.engine.rollover, "published", surprise)
    reply = est.ask("cacerts")
    assert (reply.status, reply.body) == (500, b"internal error\n")


@pytest.mark.requirement("EST-02", "EST-03")
def test_labels_and_operations_that_are_off_are_404(est: ESTDesk) -> None:
    assert est.ask("cacerts", alias="nobody").status == 404
    assert est.ask("serverkeygen", csr(new_key()), user=basic()).status == 404
    assert est.ask("fullcmc", csr(new_key()), user=basic()).status == 404


@pytest.mark.requirement("EST-39")
def test_the_crl_comes_in_a_certs_only_message(est: ESTDesk) -> None:
    from pkid.asn1.cms.signed import SignedData

    reply = est.ask("crls")
    found = SignedData.decode_content_info(base64.b64decode(reply.body))
    (crl,) = found.crls
    assert x509.load_der_x509_crl(crl).next_update_utc is not None


class NamePart(univ.Sequence):
    componentType = namedtype.NamedTypes(
        namedtype.NamedType("type", univ.ObjectIdentifier()),
        namedtype.OptionalNamedType("value", univ.Any()),
    )


class NameParts(univ.SetOf):
    componentType = NamePart()


class NameTemplate(univ.SequenceOf):
    componentType = NameParts()


class KeyTemplate(univ.Sequence):
    componentType = namedtype.NamedTypes(
        namedtype.NamedType("algorithm", rfc5280.AlgorithmIdentifier()),
        namedtype.OptionalNamedType("subjectPublicKey", univ.BitString()),
    )


class RequestTemplate(univ.Sequence):
    """CertificationRequestInfoTemplate of RFC 9908, once more."""

    componentType = namedtype.NamedTypes(
        namedtype.NamedType("version", univ.Integer()),
        namedtype.OptionalNamedType("subject", NameTemplate()),
        namedtype.OptionalNamedType(
            "subjectPKInfo",
            KeyTemplate().subtype(
                implicitTag=tag.Tag(tag.tagClassContext, tag.tagFormatConstructed, 0)
            ),
        ),
        namedtype.NamedType(
            "attributes",
            univ.SetOf(componentType=rfc5652.Attribute()).subtype(
                implicitTag=tag.Tag(tag.tagClassContext, tag.tagFormatConstructed, 1)
            ),
        ),
    )


class ExtensionTemplate(univ.Sequence):
    componentType = namedtype.NamedTypes(
        namedtype.NamedType("extnID", univ.ObjectIdentifier()),
        namedtype.DefaultedNamedType("critical", univ.Boolean(False)),
        namedtype.OptionalNamedType("extnValue", univ.OctetString()),
    )


class ExtensionTemplates(univ.SequenceOf):
    componentType = ExtensionTemplate()


# --- /csrattrs --------------------------------------------------------------------


def attributes(est: ESTDesk, form: str) -> list[Any]:
    est.settings["csr_attributes"] = form
    reply = est.ask("csrattrs")
    assert reply.status == 200
    found, rest = pyasn1_decode(
        base64.b64decode(reply.body), asn1Spec=rfc7030.CsrAttrs()
    )
    assert rest == b""
    return list(found)


def attribute(found: list[Any], oid: str) -> Any:
    (one,) = [
        item["attribute"]
        for item in found
        if item.getName() == "attribute" and str(item["attribute"]["attrType"]) == oid
    ]
    return one["attrValues"]


def oids_of(found: list[Any]) -> set[str]:
    return {str(item["oid"]) for item in found if item.getName() == "oid"}


@pytest.fixture
def particular(est: ESTDesk) -> ESTDesk:
    est.settings["binding"] = "require"
    est.change_profile(
        keys=("ec:P-384", "rsa:3072"),
        key_usage=("digitalSignature",),
        san="required",
    )
    names = EndEntityProfile(
        name="any",
        subject=(
            NameField(field="CN", required=True),
            NameField(field="O", modifiable=False, default="Example"),
            NameField(field="OU"),
        ),
    )
    profiles = {"any": names}
    est.world.policies = replace(est.world.policies, end_entity_profiles=profiles)
    return est


@pytest.mark.requirement("EST-30", "EST-31")
def test_the_legacy_list_names_what_the_profile_wants(particular: ESTDesk) -> None:
    found = attributes(particular, "legacy")
    assert oids_of(found) == {oids.PKCS9_CHALLENGE_PASSWORD, oids.ECDSA_WITH_SHA384}
    (curve,) = attribute(found, oids.ID_EC_PUBLIC_KEY)
    assert pyasn1_decode(curve)[0] == tuple(map(int, oids.SECP384R1.split(".")))
    values = attribute(found, oids.PKCS9_EXTENSION_REQUEST)
    named = {str(pyasn1_decode(one)[0]) for one in values}
    assert named == {
        oids.ID_CE_KEY_USAGE,
        oids.ID_CE_EXT_KEY_USAGE,
        oids.ID_CE_SUBJECT_ALT_NAME,
    }


@pytest.mark.requirement("EST-31")
def test_values_of_extensions_are_given_in_one_attribute(particular: ESTDesk) -> None:
    found = attributes(particular, "extensions")
    (value,) = attribute(found, oids.PKCS9_EXTENSION_REQUEST)
    extensions, rest = pyasn1_decode(value, asn1Spec=rfc5280.Extensions())
    assert rest == b""
    by_oid = {str(one["extnID"]): bytes(one["extnValue"]) for one in extensions}
    assert by_oid[oids.ID_CE_KEY_USAGE] == bytes.fromhex("03020780")
    purposes, _ = pyasn1_decode(
        by_oid[oids.ID_CE_EXT_KEY_USAGE], asn1Spec=rfc5280.ExtKeyUsageSyntax()
    )
    assert [str(one) for one in purposes] == [oids.ID_KP_CLIENT_AUTH]


@pytest.mark.requirement("EST-31")
def test_the_size_of_an_rsa_key_is_an_integer(particular: ESTDesk) -> None:
    particular.change_profile(keys=("rsa:3072-4096",))
    found = attributes(particular, "extensions")
    (size,) = attribute(found, oids.RSA_ENCRYPTION)
    assert pyasn1_decode(size)[0] == 3072
    assert oids.SHA256_WITH_RSA_ENCRYPTION in oids_of(found)


@pytest.mark.parametrize("keys", [("ec:P-384",), ("rsa:3072",), ("ed25519",)])
@pytest.mark.requirement("EST-32")
def test_a_template_stands_beside_what_old_clients_read(
    particular: ESTDesk, keys: tuple[str, ...]
) -> None:
    particular.change_profile(keys=keys)
    found = attributes(particular, "template")
    (value,) = attribute(found, oids.ID_AA_CERTIFICATION_REQUEST_INFO_TEMPLATE)
    template, rest = pyasn1_decode(value, asn1Spec=RequestTemplate())
    assert rest == b""
    assert template["version"] == 0
    (name,), (organisation,) = template["subject"]
    assert str(name["type"]) == oids.ID_AT_COMMON_NAME
    assert not name["value"].isValue
    assert str(pyasn1_decode(organisation["value"])[0]) == "Example"
    key = template["subjectPKInfo"]["subjectPublicKey"]
    assert key.isValue == keys[0].startswith("rsa")
    (one,) = template["attributes"]
    assert str(one["attrType"]) == oids.ID_AA_EXTENSION_REQ_TEMPLATE
    (values,) = one["attrValues"]
    extensions, _ = pyasn1_decode(values, asn1Spec=ExtensionTemplates())
    assert str(extensions[-1]["extnID"]) == oids.ID_CE_SUBJECT_ALT_NAME
    assert [item["extnValue"].isValue for item in extensions] == [True, True, False]


@pytest.mark.requirement("EST-32")
def test_a_template_without_open_values_has_plain_extensions(est: ESTDesk) -> None:
    found = attributes(est, "template")
    (value,) = attribute(found, oids.ID_AA_CERTIFICATION_REQUEST_INFO_TEMPLATE)
    template, _ = pyasn1_decode(value, asn1Spec=RequestTemplate())
    assert not template["subject"].isValue
    (one,) = template["attributes"]
    assert str(one["attrType"]) == oids.PKCS9_EXTENSION_REQUEST
    extensions, _ = pyasn1_decode(one["attrValues"][0], asn1Spec=rfc5280.Extensions())
    assert len(extensions) == 1


@pytest.mark.requirement("EST-30")
def test_nothing_to_say_is_204(est: ESTDesk) -> None:
    est.settings["csr_attributes"] = "off"
    assert est.ask("csrattrs").status == 204
