"""A certification authority elsewhere, before which this daemon stands as RA or proxy.

What is known of it, how its answers are verified, and the port through which messages
reach it. Which mode an entrance has decides what becomes of a device's message:

``forward``
    goes on as it came, and so does the answer: a proxy, which knows neither side.
``protect``
    goes on as it came inside a ``nested`` message signed by us; the answer comes back
    to the device as the CA made it.
``reprotect``
    is verified here like any other, and what the CA is to decide goes on under our own
    signature; each side has a protection of its own.

**Source:** RFC 9810 sections 5.1.1.3, 5.1.3.5 and 5.2.8.1; RFC 9483 section 5.2.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from pkid.asn1 import oids
from pkid.crypto.certificates import (
    Certificate,
    allows_digital_signature,
    basic_constraints,
    has_extended_key_usage,
    subject_key_identifier,
)
from pkid.crypto.chains import validate_chain
from pkid.crypto.mac import decode_mac_parameters, derive_mac_key
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import (
    BodyType,
    CertRepMessage,
    ErrorMsgContent,
    PollRepContent,
)
from pkid.messages.cmp.message import PKIMessage, decode_body
from pkid.messages.cmp.status import PKIStatus

#: Bodies that ask for a certificate, and what answers them.
CERTIFICATE_ANSWERS: Final = {
    BodyType.IR: BodyType.IP,
    BodyType.CR: BodyType.CP,
    BodyType.P10CR: BodyType.CP,
    BodyType.KUR: BodyType.KUP,
}
#: More than this is no wait, but a CA that does not want to say no.
MOST_WAIT: Final = timedelta(days=7)

_AUTHORITY_PURPOSES: Final = (oids.ID_KP_CMC_CA, oids.ID_KP_CMC_RA)


class Wire(Protocol):
    """Carries one message to the CA."""

    def send(self, message: bytes) -> Awaitable[bytes]:
        """Its answer; b"" when the CA has nothing to say.

        :raises PKIError: ``UNAVAILABLE`` when it is out of reach.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One CA elsewhere, as configured.

    :ivar wire: leads there.
    :ivar enrolment: leads to where our own certificate is asked for.
    :ivar anchors: DER of what its signatures may rest upon; () verifies nothing, which
        is enough for a proxy.
    :ivar subject: RFC 4514 text of the name that our certificate is asked for under.
    :ivar reference: reference value of the secret that our first certificate is asked
        for with; "" for a certificate that was brought.
    :ivar secret: that secret.
    :ivar brought: DER of our certificate and those above it, when it was brought.
    :ivar vouched: say raVerified also where the device's own proof still stands.
    :ivar original: send the device's own message along as ``origPKIMessage``.
    :ivar retry: how long after a failure the CA is asked again for what waits.
    :ivar poll_after: when a device that waits is told to ask again.
    :ivar hold: how long at most a request waits for the CA.
    :ivar most_held: how many requests may wait in all.
    """

    name: str
    wire: Wire = field(repr=False)
    enrolment: Wire = field(repr=False)
    anchors: tuple[bytes, ...] = ()
    subject: str = ""
    reference: str = ""
    secret: bytes = field(default=b"", repr=False)
    brought: tuple[bytes, ...] = ()
    original: bool = False
    vouched: bool = False
    retry: timedelta = timedelta(seconds=10)
    poll_after: timedelta = timedelta(seconds=15)
    hold: timedelta = timedelta(days=2)
    most_held: int = 10_000


@dataclass(frozen=True, slots=True)
class Wait:
    """The CA has not decided.

    :ivar after: when it wants to be asked again, None where it did not say.
    :ivar cert_req_id: to ask after.
    """

    after: timedelta | None
    cert_req_id: int


def upstream_of(upstreams: Mapping[str, Upstream], name: str) -> Upstream:
    """The CA of that name.

    :raises PKIError: ``UNAVAILABLE`` when it is not configured (any more).
    """
    found = upstreams.get(name)
    if found is None:
        raise _odd(f"there is no [cmp.upstream.{name}]")
    return found


def read_answer(octets: bytes, asked: PKIMessage) -> PKIMessage:
    """An answer of the CA, which must be one to our message.

    :raises PKIError: ``UNAVAILABLE`` for anything else.
    """
    try:
        answer = PKIMessage.decode(octets)
    except PKIError as error:
        raise _odd(f"what came is no CMP message: {error.detail}") from error
    expected, given = asked.header, answer.header
    same_transaction = given.transaction_id == expected.transaction_id
    if expected.transaction_id is not None and not same_transaction:
        raise _odd("the answer is of another transaction")
    if given.recip_nonce != expected.sender_nonce and not _may_lack_nonce(answer):
        raise _odd("the answer's recipNonce is not the senderNonce of the message")
    return answer


def verify_signature_of_authority(
    answer: PKIMessage, upstream: Upstream, at: datetime
) -> None:
    """Check that the CA, or an RA of its PKI, signed an answer.

    :raises PKIError: ``UNAVAILABLE`` otherwise: to whoever waits, an answer that is
        not the CA's is none.
    """
    try:
        _verify(answer, upstream, at)
    except PKIError as error:
        raise _odd(f"the answer is not taken: {error.detail}") from error


def _verify(answer: PKIMessage, upstream: Upstream, at: datetime) -> None:
    algorithm = answer.header.protection_alg
    if algorithm is None or answer.protection is None:
        raise PKIError(ErrorCode.BAD_MESSAGE_CHECK, "it is not protected")
    sender = answer.header.sender.directory_name
    anchors = [Certificate.decode(octets) for octets in upstream.anchors]
    given = [Certificate.decode(octets) for octets in answer.extra_certs]
    candidates = [
        one
        for one in (*given, *anchors)
        if sender is not None and one.subject.matches(sender)
    ]
    if not candidates:
        raise PKIError(
            ErrorCode.SIGNER_NOT_TRUSTED, "no certificate of its sender is there"
        )
    kid = answer.header.sender_kid
    named = (one for one in candidates if subject_key_identifier(one) == kid)
    signer = next(named, candidates[0])
    signer.public_key_info.verify(algorithm, answer.protection, answer.protected_part)
    validate_chain(signer, given, anchors, at)
    if not _speaks_for_authority(signer):
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "its signer is no CA and has neither cmcCA nor cmcRA",
        )
    if not allows_digital_signature(signer):
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "the key usage of its signer lacks digitalSignature",
        )


def _speaks_for_authority(signer: Certificate) -> bool:
    """Whether this certificate may answer for a CA: else any device could.

    **Source:** RFC 9810 section 4.5; RFC 9483 section 1.
    """
    constraints = basic_constraints(signer)
    if constraints is not None and constraints.ca:
        return True
    return any(has_extended_key_usage(signer, oid) for oid in _AUTHORITY_PURPOSES)


def verify_mac_of_authority(answer: PKIMessage, secret: bytes) -> None:
    """Check the MAC of an answer under the secret that our request was sent with.

    :raises PKIError: ``UNAVAILABLE``.
    """
    algorithm = answer.header.protection_alg
    if algorithm is None or answer.protection is None:
        raise _odd("the answer is not protected")
    try:
        key = derive_mac_key(decode_mac_parameters(algorithm), secret)
        mac = key.compute(answer.protected_part)
    except PKIError as error:
        raise _odd(f"the answer is not taken: {error.detail}") from error
    if not hmac.compare_digest(mac, answer.protection):
        raise _odd("the answer's MAC is wrong: is it the same secret on both sides?")


def wait_of(answer: PKIMessage) -> Wait | None:
    """Whether the CA asks for patience.

    :raises PKIError: ``UNAVAILABLE`` for a body that cannot be read.
    """
    if answer.body_type not in _MAY_WAIT:
        return None
    try:
        content = decode_body(answer)
    except PKIError as error:
        raise _odd(f"the answer's body cannot be read: {error.detail}") from error
    if isinstance(content, PollRepContent):
        return _wait_of_poll(content)
    if isinstance(content, ErrorMsgContent):
        waits = content.status_info.status is PKIStatus.WAITING
        return Wait(None, -1) if waits else None
    if isinstance(content, CertRepMessage):
        for response in content.responses:
            if response.status.status is PKIStatus.WAITING:
                return Wait(None, response.cert_req_id)
    return None


def _wait_of_poll(content: PollRepContent) -> Wait:
    if not content.entries:
        raise _odd("a pollRep without an entry")
    entry = content.entries[0]
    after = timedelta(seconds=max(0, min(entry.check_after, _MOST_SECONDS)))
    return Wait(after, entry.cert_req_id)


_MOST_SECONDS: Final = int(MOST_WAIT.total_seconds())
_MAY_WAIT: Final = frozenset(
    (BodyType.IP, BodyType.CP, BodyType.KUP, BodyType.ERROR, BodyType.POLL_REP)
)


def _may_lack_nonce(answer: PKIMessage) -> bool:
    """Errors about a message that could not be read cannot echo its nonce."""
    return answer.body_type is BodyType.ERROR and answer.header.recip_nonce is None


def _odd(what: str) -> PKIError:
    return PKIError(
        ErrorCode.UNAVAILABLE,
        "the certification authority is out of reach at the moment",
        hint=f"upstream: {what}",
    )
