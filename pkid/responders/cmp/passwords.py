"""A password in the body of a request that nothing protects.

The control regToken of CRMF, or the challengePassword of PKCS #10, is compared with the
shared secret whose reference the subject names. For devices of EJBCA's module
"RegTokenPwd"; the password travels as it is, so that it should be good for one
certificate, and the connection be inside TLS.

**Source:** RFC 4211 section 6.1; RFC 2985 section 5.4.1.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from twisted.logger import Logger

from pkid.asn1 import oids
from pkid.engine.credentials import AuthenticationFailure, SharedSecret
from pkid.engine.model import CredentialKind, Requester, RequesterKind
from pkid.errors import ErrorCode, PKIError
from pkid.messages.controls import REG_TOKEN
from pkid.messages.crmf import CertReqMsg
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.protection import NOT_PROTECTED, printable, unprotected
from pkid.responders.cmp.references import reference_in
from pkid.responders.cmp.requests import Request

_NOBODY: Final = b"no secret has this reference value"


class Passwords:
    """Finds out who asks by a password in the request."""

    log = Logger()

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def of_crmf(self, request: Request, message: CertReqMsg) -> Requester:
        """Who asks: as the protection says, else the owner of the regToken.

        :raises PKIError: ``BAD_MESSAGE_CHECK``, ``MALFORMED``.
        """
        if not _may_tell(request):
            return request.requester
        control = message.cert_req.control(oids.ID_REG_CTRL_REG_TOKEN)
        token = None if control is None else REG_TOKEN.decode(control)
        subject = message.cert_req.cert_template.subject
        return await self._requester(request, subject, token)

    async def of_pkcs10(self, request: Request, csr: CertificationRequest) -> Requester:
        """Likewise, by the challengePassword.

        :raises PKIError: as `of_crmf`.
        """
        if not _may_tell(request):
            return request.requester
        return await self._requester(request, csr.subject, csr.challenge_password)

    async def _requester(
        self, request: Request, subject: bytes | None, token: str | None
    ) -> Requester:
        if token is None:
            if request.alias.unprotected_requests:
                return request.requester
            raise unprotected()
        reference = reference_in(request.alias, subject)
        shared = await self._engine.find_secret(
            CredentialKind.CMP_SECRET, reference, request.alias.name
        )
        secret = _NOBODY if shared is None else shared.secret
        # Digests: the comparison takes the same time for every length.
        right = hmac.compare_digest(_digest(token.encode()), _digest(secret))
        if shared is None or not right or not shared.usable:
            raise await self._failed(request, reference, shared, right=right)
        return shared.requester

    async def _failed(
        self,
        request: Request,
        reference: str,
        shared: SharedSecret | None,
        *,
        right: bool,
    ) -> PKIError:
        """Report a password that does not count; gives what to raise."""
        name = printable(reference)
        hint = f"no CMP secret has reference {name!r}: pkid secret list"
        if shared is not None:
            hint = shared.hint if right else f"wrong password for reference {name!r}"
        error = PKIError(ErrorCode.BAD_MESSAGE_CHECK, NOT_PROTECTED, hint=hint)
        failure = AuthenticationFailure(
            error=error,
            context=request.context,
            alias=request.alias.name,
            actor=name,
            transaction_id=request.transaction_id,
            credential=None if shared is None or right else shared.credential,
        )
        try:
            await self._engine.report_failure(failure)
        except PKIError:
            self.log.failure(
                "cmp {alias}: a failure was not counted", alias=request.alias.name
            )
        return error


def check_one_password(request: Request) -> None:
    """One message is one guess: no message tries several passwords.

    :raises PKIError: ``BAD_REQUEST``.
    """
    if _may_tell(request):
        raise PKIError(
            ErrorCode.BAD_REQUEST, "ask for one certificate where a password proves it"
        )


def _may_tell(request: Request) -> bool:
    """Whether a password counts: nothing else says who asks, and the alias lets it."""
    nobody = request.requester.kind is RequesterKind.ANONYMOUS
    return nobody and request.alias.registration_token


def _digest(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()
