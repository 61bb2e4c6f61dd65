"""Intune by a fake of its three services."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from cryptography import x509
from twisted.internet.task import Clock

from pkid.engine.validation import ChallengeQuestion
from pkid.errors import ErrorCode, PKIError
from pkid.validators.calls import ServiceCalls
from pkid.validators.intune import IntuneApplication, IntuneValidator
from tests.engine.world import TurnedClock, result_of
from tests.support import scepclient
from tests.validators.services import FakeAgent, FakeIntune

QUESTION = ChallengeQuestion(
    transaction="tid", request=b"pkcs10", challenge="blob", alias="phones", peer=""
)


class Tenant:
    """A validator before a fake Intune."""

    def __init__(self, secret: str = "s3cr3t") -> None:
        self.service = FakeIntune()
        self.agent = FakeAgent(self.service)
        self.clock = TurnedClock()
        self.intune = IntuneValidator(
            "intune",
            IntuneApplication(
                tenant="contoso",
                application="app",
                secret=secret,
                login_url="https://login.test",
                graph_url="https://graph.test/",
            ),
            calls=ServiceCalls(self.agent, Clock(), 10.0),
            clock=self.clock,
        )

    def refusal(self) -> PKIError:
        with pytest.raises(PKIError) as caught:
            result_of(self.intune.validate(QUESTION))
        return caught.value


@pytest.mark.requirement("SCEP-51")
def test_a_challenge_of_intune_is_validated() -> None:
    tenant = Tenant()
    result_of(tenant.intune.validate(QUESTION))
    ((action, body),) = tenant.service.actions
    assert action == "validateRequest"
    assert body["request"]["transactionId"] == "tid"
    assert base64.b64decode(body["request"]["certificateRequest"]) == b"pkcs10"
    assert body["request"]["callerInfo"]


@pytest.mark.requirement("SCEP-51")
def test_tokens_and_the_place_of_the_service_are_kept_for_a_while() -> None:
    tenant = Tenant()
    for _ in range(3):
        result_of(tenant.intune.validate(QUESTION))
    assert len(tenant.service.tokens) == 2
    assert len(tenant.agent.calls) == 2 + 1 + 3
    tenant.clock.advance(timedelta(minutes=56))
    result_of(tenant.intune.validate(QUESTION))
    assert len(tenant.service.tokens) == 3


@pytest.mark.requirement("SCEP-51")
def test_a_token_that_was_withdrawn_is_replaced() -> None:
    tenant = Tenant()
    result_of(tenant.intune.validate(QUESTION))
    tenant.service.valid.clear()
    result_of(tenant.intune.validate(QUESTION))
    assert len(tenant.service.actions) == 2


@pytest.mark.requirement("SCEP-51")
@pytest.mark.parametrize("code", ["ChallengeDecryptionError", "SubjectNameMismatch"])
def test_a_no_of_intune_is_a_no(code: str) -> None:
    tenant = Tenant()
    tenant.service.code = code
    error = tenant.refusal()
    assert error.code is ErrorCode.NOT_AUTHORIZED
    assert code in error.detail


@pytest.mark.requirement("SCEP-51")
def test_everything_else_fails_closed() -> None:
    wrong_secret = Tenant(secret="wrong")
    assert wrong_secret.refusal().code is ErrorCode.UNAVAILABLE
    unpublished = Tenant()
    unpublished.service.published = False
    assert unpublished.refusal().code is ErrorCode.UNAVAILABLE
    failing = Tenant()
    failing.service.status = 503
    assert failing.refusal().code is ErrorCode.UNAVAILABLE
    silent = Tenant()
    silent.service.code = ""
    assert silent.refusal().code is ErrorCode.UNAVAILABLE


@pytest.mark.requirement("SCEP-51")
def test_intune_is_told_what_became_of_the_request() -> None:
    tenant = Tenant()
    key = scepclient.new_key()
    certificate = scepclient.self_signed(key, "CN=device,O=x")
    octets = scepclient.der_of(certificate)
    result_of(tenant.intune.issued(QUESTION, octets, octets))
    error = PKIError(ErrorCode.BAD_TEMPLATE, "the name is not allowed")
    result_of(tenant.intune.failed(QUESTION, error))
    (first, told), (second, failed) = tenant.service.actions
    assert (first, second) == ("successNotification", "failureNotification")
    found = told["notification"]
    thumbprint = certificate.fingerprint(scepclient.SHA["sha1"][1]).hex().upper()
    assert found["certificateThumbprint"] == thumbprint
    assert int(found["certificateSerialNumber"], 16) == certificate.serial_number
    moment = certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert found["certificateExpirationDateUtc"] == moment
    assert found["issuingCertificateAuthority"] == "CN=device,O=x"
    assert failed["notification"]["errorDescription"] == "the name is not allowed"
    assert failed["notification"]["hResult"] == -2147467259
    assert isinstance(certificate, x509.Certificate)
