"""ccr and ccp: a CA of another PKI is certified.

Before the request goes down the one path as any other, its form is checked: a ccr says
all that it wants, and never brings a private key.

**Source:** RFC 9810 sections 5.3.11 and 5.3.12, appendix D.6.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from pkid.asn1 import oids
from pkid.crypto.publickeys import decode_spki
from pkid.engine.model import RequesterKind
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import CertReqMessages
from pkid.messages.cmp.message import decode_body
from pkid.messages.crmf import CertReqMsg, CertTemplate, POPOSigningKey
from pkid.responders.cmp.answers import Answers
from pkid.responders.cmp.certification import refusal
from pkid.responders.cmp.failures import OF_THE_EXCHANGE
from pkid.responders.cmp.keyoffers import SIGNING
from pkid.responders.cmp.requests import Answered, MACProtection, Request
from pkid.responders.cmp.templates import X509_V3

_PRIVATE_KEYS: Final = frozenset((oids.ID_REG_CTRL_PKI_ARCHIVE_OPTIONS,))


class CrossCertification:
    """Answers requests of other CAs.

    :param enroll: answers a request for a certificate.
    """

    def __init__(
        self, answers: Answers, enroll: Callable[[Request], Awaitable[Answered]]
    ) -> None:
        self._answers = answers
        self._enroll = enroll

    async def answer(self, request: Request) -> Answered:
        """Answer a ccr.

        :raises PKIError: for refusals that are answered by an error message.
        """
        if isinstance(request.proven.protection, MACProtection):
            raise PKIError(ErrorCode.WRONG_INTEGRITY, "a ccr is signed")
        body = decode_body(request.message)
        if not isinstance(body, CertReqMessages):
            raise PKIError(ErrorCode.INTERNAL, "not a ccr")
        try:
            _check(request, body)
        except PKIError as error:
            if error.code in OF_THE_EXCHANGE or request.message.body_type is None:
                raise
            ids = tuple(message.cert_req.cert_req_id for message in body.messages)
            sealed = await self._answers.answer(
                request, refusal(request.message.body_type, ids, error)
            )
            return Answered.refused(sealed.octets, error)
        return await self._enroll(request)


def _check(request: Request, body: CertReqMessages) -> None:
    """Who asks, and the form of what is asked.

    :raises PKIError: ``NOT_AUTHORIZED``, ``BAD_REQUEST``, ``BAD_TEMPLATE``,
        ``BAD_POSSESSION``.
    """
    if request.requester.kind is not RequesterKind.AUTHORITY:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "only certification authorities that are trusted here ask by ccr",
            hint=f"cross_certify of alias {request.alias.name}",
        )
    if len(body.messages) != 1:
        raise PKIError(ErrorCode.BAD_REQUEST, "a ccr holds exactly one request")
    message = body.messages[0]
    _check_template(message.cert_req.cert_template)
    _check_possession(message)


def _check_template(template: CertTemplate) -> None:
    missing = [
        name
        for name, present in (
            ("version", template.version == X509_V3),
            ("signingAlg", template.signing_alg is not None),
            ("issuer", template.issuer is not None),
            ("validity", _is_complete(template)),
            ("subject", template.subject is not None),
            ("publicKey", template.spki is not None),
        )
        if not present
    ]
    if missing:
        raise PKIError(
            ErrorCode.BAD_TEMPLATE,
            f"a ccr must say {', '.join(missing)} (the version is v3)",
        )
    if not decode_spki(template.spki or b"").family.startswith(SIGNING):
        raise PKIError(ErrorCode.BAD_TEMPLATE, "the key of a CA must be able to sign")


def _is_complete(template: CertTemplate) -> bool:
    validity = template.validity
    return (
        validity is not None
        and validity.not_before is not None
        and validity.not_after is not None
    )


def _check_possession(message: CertReqMsg) -> None:
    """Possession by signature; the private key stays with its CA."""
    if any(control.oid in _PRIVATE_KEYS for control in message.cert_req.controls):
        raise PKIError(ErrorCode.BAD_REQUEST, "a ccr must not bring a private key")
    if not isinstance(message.popo, POPOSigningKey):
        raise PKIError(
            ErrorCode.BAD_POSSESSION, "a CA proves possession of its key by signature"
        )
