"""A template that a registration authority puts in place of the subject's own.

The subject proved possession over its own template, so that cannot be changed: what is
to be certified instead stands beside it, in regInfo.

**Source:** RFC 4211 section 7.2.
"""

from __future__ import annotations

from pkid.engine.model import RequesterKind
from pkid.errors import ErrorCode, PKIError
from pkid.messages.crmf import CertReqMsg, CertTemplate
from pkid.messages.registration import CERT_REQ
from pkid.responders.cmp.requests import Request


def template_of(message: CertReqMsg, request: Request) -> CertTemplate:
    """The template that counts: the replacement where there is one.

    :raises PKIError: ``NOT_AUTHORIZED`` for a replacement from anybody but a
        registration authority, ``BAD_REQUEST`` for two, ``BAD_TEMPLATE`` for one of
        another key, ``MALFORMED``.
    """
    own = message.cert_req.cert_template
    found = CERT_REQ.find_all(message.reg_info)
    if not found:
        return own
    if request.requester.kind is not RequesterKind.REGISTRATION_AUTHORITY:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "only a registration authority replaces a template by certReq in regInfo",
        )
    if len(found) > 1:
        raise PKIError(ErrorCode.BAD_REQUEST, "certReq stands twice in regInfo")
    replacement = found[0].cert_template
    if replacement.spki != own.spki:
        raise PKIError(
            ErrorCode.BAD_TEMPLATE,
            "certReq in regInfo has another key than the one that was proven",
        )
    return replacement
