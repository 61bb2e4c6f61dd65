from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkid.app import output
from pkid.app.trace import MASK, decode_trace
from pkid.asn1 import der, oids
from pkid.errors import PKIError
from pkid.messages.cmp.body import BodyType, GenMsgContent, encode_body
from pkid.messages.cmp.framing import Framing, encode_poll_req, encode_request
from pkid.messages.cmp.header import InfoTypeAndValue, PKIHeader
from pkid.messages.cmp.message import encode_message
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
