"""Entrances whose challenges another service knows, and the page of NDES."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from pkid.engine.credentials import NewSecret
from pkid.engine.model import CredentialKind
from pkid.engine.validation import ChallengeQuestion
from pkid.errors import ErrorCode, PKIError
from pkid.responders.base import Exchange, Peer, Reply
from pkid.responders.scep.ndes import NDESResponder
from tests.engine.world import CMP, OPERATOR, result_of
from tests.responders.scepdesk import SCEPDesk, known_key
from tests.support import scepclient

BAD_REQUEST = 2


@dataclass
class Service:
    """A service that remembers what it was asked and told."""

    refusal: PKIError | None = None
    deaf: bool = False
    asked: list[ChallengeQuestion] = field(default_factory=list)
    told: list[tuple[str, Any]] = field(default_factory=list)
    name: str = "mdm"

    async def validate(self, question: ChallengeQuestion) -> None:
        self.asked.append(question)
        if self.refusal is not None:
            raise self.refusal

    async def issued(
        self, question: ChallengeQuestion, certificate: bytes, issuer: bytes
    ) -> None:
        self.told.append(("issued", certificate))
        self._may_fail()

    async def failed(self, question: ChallengeQuestion, error: PKIError) -> None:
        self.told.append(("failed", error.detail))
        self._may_fail()

    def _may_fail(self) -> None:
        if self.deaf:
            raise PKIError(ErrorCode.UNAVAILABLE, "out of reach")


@pytest.fixture
def service(scep: SCEPDesk) -> Service:
    made = Service()
    scep.settings.update(validator="mdm", static_challenge=False)
    scep.validators = {"mdm": made}
    return made


@pytest.mark.requirement("SCEP-45", "SCEP-51")
def test_a_service_says_yes_and_is_told_of_the_certificate(
    scep: SCEPDesk, service: Service
) -> None:
    answer = scep.enroll(challenge="a blob", transaction_id="t 1")
    (question,) = service.asked
    assert (question.challenge, question.transaction) == ("a blob", "t 1")
    assert service.told == [("issued", scepclient.der_of(answer.certificate))]


@pytest.mark.requirement("SCEP-51", "SCEP-47")
def test_a_service_says_no(scep: SCEPDesk, service: Service) -> None:
    service.refusal = PKIError(ErrorCode.NOT_AUTHORIZED, "ChallengeDecryptionError")
    answer = scep.enroll(challenge="a blob")
    assert (answer.status, answer.fail_info) == (2, BAD_REQUEST)
    assert answer.text == "the challenge password is not accepted"
    assert not service.told
    assert not scep.issued()


@pytest.mark.requirement("SCEP-51")
def test_a_service_out_of_reach_refuses_for_now(
    scep: SCEPDesk, service: Service
) -> None:
    service.refusal = PKIError(ErrorCode.UNAVAILABLE, "out of reach", retry_after=30)
    reply = scep.post(scep.request(challenge="a blob").encode())
    assert reply.status == 503
    assert ("Retry-After", "30") in reply.headers
    assert not scep.issued()


@pytest.mark.requirement("SCEP-51")
def test_a_service_that_is_not_configured_refuses(
    scep: SCEPDesk, service: Service
) -> None:
    scep.validators = {}
    assert scep.post(scep.request(challenge="a blob").encode()).status == 503
    assert not scep.issued()


@pytest.mark.requirement("SCEP-51")
def test_a_service_is_told_of_a_refusal_by_policy(
    scep: SCEPDesk, service: Service
) -> None:
    scep.world.change_profile("device", san="required")
    answer = scep.enroll(challenge="a blob")
    assert answer.status == 2
    ((what, why),) = service.told
    assert what == "failed"
    assert "alternative name" in why


def test_a_deaf_service_takes_no_certificate_away(
    scep: SCEPDesk, service: Service
) -> None:
    service.deaf = True
    assert scep.enroll(challenge="a blob").status == 0


@pytest.mark.requirement("SCEP-44", "SCEP-51")
def test_a_lost_answer_is_given_again_without_asking_anew(
    scep: SCEPDesk, service: Service
) -> None:
    sent = scep.request(challenge="a blob").encode()
    first = scep.read(scep.post(sent), known_key()).certificate
    assert scep.read(scep.post(sent), known_key()).certificate == first
    assert len(service.asked) == 1


def test_a_device_enrols_again_through_the_same_service(
    scep: SCEPDesk, service: Service
) -> None:
    assert scep.enroll(challenge="one").status == 0
    assert scep.enroll(known_key(1), challenge="two").status == 0


# --- the page of NDES ---------------------------------------------------------------


class Page:
    """The page, asked for as user "mdm"."""

    def __init__(self, scep: SCEPDesk) -> None:
        self.scep = scep
        scep.settings.update(ndes=True, static_challenge=False)
        new = NewSecret(kind=CredentialKind.NDES, reference="mdm", secret=b"pass:word")
        result_of(scep.world.engine.administration.add_secret(new, OPERATOR, CMP))
        self.responder = NDESResponder(
            scep.world.engine,
            lambda: {"default": scep.scep_alias},
            clock=scep.world.clock,
        )

    def get(
        self, user: str | None = "mdm", password: str = "pass:word", **fields: Any
    ) -> Reply:
        headers: dict[str, str] = fields.pop("headers", {})
        if user is not None:
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            headers = {"authorization": f"Basic {token}", **headers}
        values: dict[str, Any] = {
            "transport": "http",
            "alias": "default",
            "method": "GET",
            "body": b"",
            "peer": Peer(address="127.0.0.1"),
            **fields,
        }
        return result_of(self.responder.respond(Exchange(headers=headers, **values)))

    def challenge(self, **fields: Any) -> str:
        reply = self.get(query="format=json", **fields)
        assert reply.status == 200, reply.body
        return str(json.loads(reply.body)["challenge"])


@pytest.fixture
def page(scep: SCEPDesk) -> Page:
    return Page(scep)


@pytest.mark.requirement("SCEP-50")
@pytest.mark.parametrize(
    ("query", "codec"), [("", "utf-16"), ("charset=utf-8", "utf-8")]
)
def test_the_page_shows_thumbprint_and_challenge(
    page: Page, query: str, codec: str
) -> None:
    reply = page.get(query=query)
    assert reply.status == 200
    assert reply.content_type == f"text/html; charset={codec}"
    thumbprint, challenge = re.findall(r"<B> (.*?) </B>", reply.body.decode(codec))
    assert re.fullmatch("[0-9A-F]{16}", challenge)
    found = page.scep.ca.fingerprint(scepclient.SHA["sha1"][1]).hex().upper()
    assert thumbprint.replace(" ", "") == found
    assert page.scep.enroll(challenge=challenge).status == 0


@pytest.mark.requirement("SCEP-50")
def test_a_challenge_of_the_page_is_good_once_and_for_an_hour(page: Page) -> None:
    scep = page.scep
    challenge = page.challenge()
    assert scep.enroll(challenge=challenge).status == 0
    assert scep.enroll(known_key(1), subject="CN=b", challenge=challenge).status == 2
    late = page.challenge()
    scep.world.clock.advance(timedelta(minutes=61))
    assert scep.enroll(known_key(1), subject="CN=b", challenge=late).status == 2


@pytest.mark.requirement("SCEP-50")
def test_an_mdm_server_may_enrol_the_same_device_again(page: Page) -> None:
    scep = page.scep
    assert scep.enroll(challenge=page.challenge()).status == 0
    assert scep.enroll(known_key(1), challenge=page.challenge()).status == 0


@pytest.mark.requirement("SCEP-50")
@pytest.mark.parametrize(
    ("user", "password"),
    [(None, ""), ("mdm", "wrong"), ("nobody", "pass:word"), ("", ""), ("mdm", "")],
)
def test_the_page_is_for_who_is_known(
    page: Page, user: str | None, password: str
) -> None:
    reply = page.get(user, password)
    assert reply.status == 401
    assert dict(reply.headers)["WWW-Authenticate"].startswith("Basic ")
    assert not re.search(rb"[0-9A-F]{16}", reply.body)


@pytest.mark.requirement("SCEP-50")
def test_passwords_are_not_sent_in_the_clear_over_a_network(page: Page) -> None:
    far = Peer(address="192.0.2.1", beyond_loopback=True)
    assert page.get(peer=far).status == 403
    secure = Peer(address="192.0.2.1", beyond_loopback=True, secure=True)
    assert page.get(peer=secure).status == 200


def test_where_the_page_is_off_there_is_none(page: Page) -> None:
    page.scep.settings["ndes"] = False
    assert page.get().status == 404
    assert page.get(alias="nowhere").status == 404


@pytest.mark.requirement("SCEP-50")
def test_only_so_many_challenges_wait(page: Page) -> None:
    scep = page.scep
    scep.settings["ndes_outstanding"] = 2
    first = page.challenge()
    page.challenge()
    full = page.get()
    assert full.status == 503
    assert b"password cache is full" in full.body
    assert scep.enroll(challenge=first).status == 0
    page.challenge()
    assert page.get().status == 503
    scep.world.clock.advance(timedelta(minutes=61))
    assert page.get().status == 200


def test_challenges_that_are_long_over_are_forgotten(page: Page) -> None:
    for _ in range(3):
        page.challenge()
    page.scep.world.clock.advance(timedelta(days=2))
    page.challenge()
    found = result_of(page.scep.world.store.list_credentials())
    owned = [one for one in found if one.binding.owner]
    assert len(owned) == 1


@pytest.mark.requirement("SCEP-47")
def test_guessing_passwords_locks_the_user_and_slows_the_guesser(page: Page) -> None:
    far = Peer(address="192.0.2.1", beyond_loopback=True, secure=True)
    statuses = [page.get("mdm", "guess", peer=far).status for _ in range(11)]
    assert statuses[-1] == 503
    # Locked for a minute for everybody: the right password too.
    assert page.get().status == 401
    page.scep.world.clock.advance(timedelta(minutes=2))
    assert page.get().status == 200
