"""CertPoll, GetCert, GetCRL: for whose key signed the request, and for nobody else."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pkid.engine.model import RevocationReason
from pkid.engine.revocation import RevocationRequest
from tests.engine.world import CMP, OPERATOR, OPERATOR_REQUESTER, result_of
from tests.responders.scepdesk import CHALLENGE, SCEPDesk, known_key
from tests.support import scepclient
from tests.support.scepclient import RECIPIENT_NONCE, TRANSACTION_ID

BAD_CERT_ID, BAD_REQUEST = 4, 2
PENDING = 3


@pytest.fixture
def waiting(scep: SCEPDesk) -> SCEPDesk:
    scep.change_alias(approval="operator")
    return scep


# --- polling -----------------------------------------------------------------------


@pytest.mark.requirement("SCEP-35", "SCEP-42")
def test_a_request_waits_and_is_fetched_by_polling(waiting: SCEPDesk) -> None:
    sent = waiting.request()
    answer = waiting.read(waiting.post(sent.encode()), known_key())
    assert answer.status == PENDING
    assert answer.fail_info is None
    assert not answer.certificates
    assert answer.attributes[RECIPIENT_NONCE] == sent.nonce
    assert waiting.poll(sent).status == PENDING
    waiting.approve_all()
    found = waiting.poll(sent)
    assert found.certificate.subject.rfc4514_string() == "CN=device-1"
    assert found.attributes[TRANSACTION_ID] == sent.transaction_id.encode()
    assert waiting.poll(sent).certificate == found.certificate


@pytest.mark.requirement("SCEP-43", "SCEP-45")
def test_a_request_without_challenge_waits_where_that_is_wanted(
    waiting: SCEPDesk,
) -> None:
    assert waiting.enroll(challenge=None).status == 2
    waiting.settings["unknown_requesters"] = "pend"
    sent = waiting.request(challenge=None)
    assert waiting.read(waiting.post(sent.encode()), known_key()).status == PENDING
    waiting.approve_all()
    assert waiting.poll(sent).status == 0


@pytest.mark.requirement("SCEP-60")
def test_what_waits_holds_unknown_requesters(waiting: SCEPDesk) -> None:
    waiting.post(waiting.request().encode())
    (one,) = result_of(waiting.world.store.list_approvals())
    texts = re.findall(rb'"([A-Za-z0-9+/=]{8,})"', one.enrollment)
    assert len(texts) > 2
    for text in texts:
        assert CHALLENGE.encode() not in text
        with contextlib.suppress(binascii.Error):
            assert CHALLENGE.encode() not in base64.b64decode(text)
    waiting.approve_all()
    assert waiting.issued()


@pytest.mark.requirement("SCEP-43")
def test_a_waiting_request_survives_a_restart(waiting: SCEPDesk) -> None:
    sent = waiting.request()
    assert waiting.read(waiting.post(sent.encode())).status == PENDING
    waiting.restart()
    assert waiting.poll(sent).status == PENDING
    waiting.approve_all()
    waiting.restart()
    assert waiting.poll(sent).status == 0


@pytest.mark.requirement("SCEP-43")
def test_a_rejected_request_is_refused_at_the_poll(waiting: SCEPDesk) -> None:
    sent = waiting.request()
    waiting.post(sent.encode())
    administration = waiting.world.engine.administration
    (one,) = result_of(waiting.world.store.list_approvals())
    result_of(administration.reject(one.id, OPERATOR, "not ours", CMP))
    answer = waiting.poll(sent)
    assert (answer.status, answer.fail_info) == (2, BAD_REQUEST)
    assert "rejected: not ours" in answer.text


@pytest.mark.requirement("SCEP-44")
def test_the_same_request_again_waits_as_the_same(waiting: SCEPDesk) -> None:
    sent = waiting.request()
    for _ in range(3):
        assert waiting.read(waiting.post(sent.encode())).status == PENDING
    assert len(result_of(waiting.world.store.list_approvals())) == 1


@pytest.mark.requirement("SCEP-42", "SEC-27")
def test_a_poll_for_another_ones_request_finds_nothing(waiting: SCEPDesk) -> None:
    sent = waiting.request()
    waiting.post(sent.encode())
    waiting.approve_all()
    thief = waiting.poll(
        sent, known_key(1), certificate=scepclient.self_signed(known_key(1))
    )
    assert (thief.status, thief.fail_info) == (2, BAD_CERT_ID)
    assert not thief.certificates
    unknown = waiting.poll(sent, transaction_id="no such transaction")
    assert (unknown.status, unknown.fail_info) == (2, BAD_CERT_ID)
    assert unknown.text == thief.text


@pytest.mark.requirement("SCEP-42")
def test_a_poll_may_name_any_subject_and_a_recipient_nonce(waiting: SCEPDesk) -> None:
    sent = waiting.request()
    waiting.post(sent.encode())
    waiting.approve_all()
    nonce = scepclient.attribute(
        scepclient.RECIPIENT_NONCE, scepclient.der.octet_string(b"x" * 16)
    )
    assert waiting.poll(sent, subject="CN=something else", further=[nonce]).status == 0


def test_a_poll_of_an_ec_client_cannot_be_encrypted_and_says_so(
    waiting: SCEPDesk,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    sent = waiting.request(key)
    assert waiting.read(waiting.post(sent.encode())).status == PENDING
    waiting.approve_all()
    poll = waiting.poll(sent, key)
    assert (poll.status, poll.fail_info) == (2, 0)
    # The request itself brings the challenge along.
    again = waiting.read(waiting.post(sent.encode()), key, password=CHALLENGE)
    assert again.certificate.public_key() == key.public_key()


# --- certificates and CRLs ---------------------------------------------------------


@pytest.mark.requirement("SCEP-41")
def test_a_device_gets_its_certificate_again(scep: SCEPDesk) -> None:
    held = scep.enroll().certificate
    answer = scep.ask_for("21", held.serial_number)
    assert answer.certificates == (held,)
    renewed = scep.renew(held, known_key()).certificate
    by_owner = scep.ask_for("21", held.serial_number, known_key(1), certificate=renewed)
    assert by_owner.certificates == (held,)


@pytest.mark.requirement("SCEP-41", "SEC-27")
def test_a_device_gets_no_other_ones_certificate(scep: SCEPDesk) -> None:
    other = scep.enroll(known_key(1), subject="CN=device-2").certificate
    held = scep.enroll().certificate
    for certificate in (None, held):
        answer = scep.ask_for("21", other.serial_number, certificate=certificate)
        assert (answer.status, answer.fail_info) == (2, BAD_CERT_ID)
        missing = scep.ask_for("21", 12345, certificate=certificate)
        assert missing.fail_info == BAD_CERT_ID
        assert missing.text == answer.text


@pytest.mark.requirement("SCEP-41")
def test_a_device_gets_the_crl(scep: SCEPDesk) -> None:
    held = scep.enroll().certificate
    request = RevocationRequest(
        reference=scep.issued()[0].reference,
        reason=RevocationReason.KEY_COMPROMISE,
        requester=OPERATOR_REQUESTER,
        context=CMP,
    )
    result_of(scep.world.engine.revoke(request))
    result_of(scep.world.engine.refresh_crls())
    answer = scep.ask_for("22", held.serial_number, known_key(1))
    assert not answer.certificates
    (crl,) = answer.crls
    assert crl.issuer == scep.ca.subject
    assert crl.get_revoked_certificate_by_serial_number(held.serial_number)


@pytest.mark.requirement("SCEP-41")
def test_the_crl_of_another_issuer_is_not_here(scep: SCEPDesk) -> None:
    answer = scep.ask_for("22", 1, issuer=scepclient.name("CN=other"))
    assert (answer.status, answer.fail_info) == (2, BAD_CERT_ID)
