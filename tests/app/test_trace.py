from __future__ import annotations

import base64
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkid.app import output
from pkid.app.trace import MASK, decode_trace
from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.certificates import Certificate
from pkid.errors import PKIError
from pkid.messages.cmp.announcements import (
    CAKeyUpdAnnContent,
    CAKeyUpdContent,
    CertAnnContent,
    CRLAnnContent,
    RevAnnContent,
    RootCaKeyUpdateContent,
)
from pkid.messages.cmp.body import Body, BodyType, GenMsgContent, encode_body
from pkid.messages.cmp.challenge import (
    Challenge,
    POPODecKeyChallContent,
    POPODecKeyRespContent,
)
from pkid.messages.cmp.framing import Framing, encode_poll_req, encode_request
from pkid.messages.cmp.header import InfoTypeAndValue, PKIHeader
from pkid.messages.cmp.keypairs import CertifiedKeyPair
from pkid.messages.cmp.message import PKIMessage, encode_message
from pkid.messages.cmp.recovery import KeyRecRepContent
from pkid.messages.cmp.status import PKIStatus, PKIStatusInfo
from pkid.messages.crmf import CertId
from tests.support.cmpclient import NOBODY

VECTORS = sorted((Path(__file__).parents[1] / "vectors" / "cmp").glob("*-r??*.der"))


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_every_recorded_message_is_shown(path: Path) -> None:
    (view,) = decode_trace(path.read_bytes())
    assert "fault" not in view
    assert view["body_type"] != "unknown"
    assert "fault" not in json.dumps(view)


def test_there_are_recorded_messages() -> None:
    assert len(VECTORS) > 20


@pytest.mark.parametrize("framing", [Framing.RFC2510, Framing.TCP_DRAFT])
def test_a_stream_of_records_is_taken_apart(framing: Framing) -> None:
    message = VECTORS[0].read_bytes()
    stream = encode_request(framing, message) + encode_poll_req(framing, 7)
    views = decode_trace(stream + stream[:5])
    assert [view.get("type") for view in views] == ["pki_req", "poll_req", None]
    assert views[2]["stream"] == "5 octets of an incomplete record"


def test_pem_and_base64_are_read_too() -> None:
    octets = VECTORS[0].read_bytes()
    text = base64.encodebytes(octets)
    pem = b"-----BEGIN CMP-----\n" + text + b"-----END CMP-----\n"
    assert decode_trace(text) == decode_trace(pem) == decode_trace(octets)


@pytest.mark.requirement("SEC-106")
def test_a_secret_in_a_message_is_masked() -> None:
    secret = der.utf8_string("canary")
    body = GenMsgContent((InfoTypeAndValue(oids.ID_IT_REV_PASSPHRASE, secret),))
    header = PKIHeader(2, NOBODY, NOBODY).encode()
    message = encode_message(header, encode_body(BodyType.GENM, body))
    text = json.dumps(decode_trace(message))
    assert MASK in text
    assert "canary" not in text
    assert secret.hex() not in text


@given(st.binary(max_size=200))
def test_any_octets_are_shown_or_refused(octets: bytes) -> None:
    try:
        views = decode_trace(octets)
    except PKIError:
        return
    json.dumps(views)


def test_people_get_text_without_control_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = io.StringIO()
    monkeypatch.setattr("sys.stdout", written)
    view = {
        "name": "a\x1b[31mb\nc",
        "rows": [{"x": "1"}, {"x": "\u202e2"}],
        "deep": [{"y": {"z": "3"}}, {"y": {"z": "4"}}],
        "empty": [],
        "none": None,
    }
    output.write_fields(view)
    text = written.getvalue()
    assert text.isascii()
    assert "\x1b" not in text
    assert "empty" not in text
    output.write_table([])
    output.write_table([{"a": True, "b": None}], ("a", "b"))
    assert written.getvalue().endswith("a    b\nyes  -\n")


# --- the strict level -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("ir-pbm-req1", ["CMP-07"]),
        ("kur-sig-req1", []),
        ("unprotected-req1", []),
    ],
)
def test_a_request_says_what_the_strict_level_would_refuse(
    name: str, broken: list[str]
) -> None:
    path = Path(__file__).parents[1] / "vectors" / "cmp" / f"{name}.der"
    (view,) = decode_trace(path.read_bytes())
    assert view["strict"] == broken


def test_a_request_whose_signer_did_not_come_along_breaks_CMP_41() -> None:
    path = Path(__file__).parents[1] / "vectors" / "cmp" / "kur-sig-req1.der"
    read = PKIMessage.decode(path.read_bytes())
    bare = encode_message(
        read.header.encode(),
        der.explicit(int(read.body_type or 0), read.body),
        protection=read.protection,
    )
    (view,) = decode_trace(bare)
    assert view["strict"] == ["CMP-41"]


def test_an_answer_is_not_held_to_the_rules_of_requests() -> None:
    (path, *_) = [path for path in VECTORS if "-rsp" in path.stem]
    (view,) = decode_trace(path.read_bytes())
    assert "strict" not in view


# --- bodies that rarely travel ---------------------------------------------------


def certificate() -> bytes:
    path = Path(__file__).parents[1] / "vectors" / "cmp" / "kur-sig-req1.der"
    return PKIMessage.decode(path.read_bytes()).extra_certs[0]


def of(body_type: BodyType, body: Body) -> dict[str, object]:
    header = PKIHeader(2, NOBODY, NOBODY).encode()
    (view,) = decode_trace(encode_message(header, encode_body(body_type, body)))
    shown = view["body"]
    assert isinstance(shown, dict)
    return shown


def test_challenges_are_shown_and_solutions_only_counted() -> None:
    sha256 = AlgorithmIdentifier(oids.ID_SHA256)
    challenge = Challenge(sha256, bytes(32), b"encrypted")
    shown = of(BodyType.POPDECC, POPODecKeyChallContent((challenge,)))
    assert shown["challenges"] == [
        {"witness": "00" * 32, "form": "version 2", "octets": 9}
    ]
    solved = of(BodyType.POPDECR, POPODecKeyRespContent((123456789,)))
    assert solved == {"count": 1}


def test_announcements_are_shown() -> None:
    octets = certificate()
    name = Certificate.decode(octets).subject.text()
    update = CAKeyUpdContent(
        CAKeyUpdAnnContent(
            old_with_new=octets, new_with_old=octets, new_with_new=octets
        )
    )
    shown = of(BodyType.CKUANN, update)
    assert shown["new_with_new"]["subject"] == name  # type: ignore[index]  # a view
    later = CAKeyUpdContent(RootCaKeyUpdateContent(new_with_new=octets))
    assert of(BodyType.CKUANN, later)["old_with_new"] is None
    shown = of(BodyType.CANN, CertAnnContent(octets))
    assert shown["certificate"]["subject"] == name  # type: ignore[index]  # a view
    moment = datetime(2026, 11, 23, tzinfo=UTC)
    revocation = RevAnnContent(
        status=PKIStatus.REVOCATION_WARNING,
        cert_id=CertId(NOBODY, 0x1F),
        will_be_revoked_at=moment,
        bad_since_date=moment,
    )
    assert of(BodyType.RANN, revocation)["serial"] == "1f"
    crl = der.sequence(der.NULL)
    assert of(BodyType.CRLANN, CRLAnnContent((crl,))) == {"crls": [len(crl)]}


def test_recovered_keys_are_shown_by_their_certificates() -> None:
    octets = certificate()
    body = KeyRecRepContent(
        PKIStatusInfo(PKIStatus.ACCEPTED),
        octets,
        (octets,),
        (CertifiedKeyPair(certificate=octets),),
    )
    shown = of(BodyType.KRP, body)
    assert shown["status"] == "accepted"
    assert shown["key_pairs"] == [shown["certificate"]]
