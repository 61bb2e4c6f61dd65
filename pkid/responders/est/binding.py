"""Whether a request was signed for this very TLS connection.

A challengePassword holds the base64 of the connection's channel binding: tls-unique
under TLS 1.2, tls-exporter under TLS 1.3, where tls-unique is not defined. A request
taken from one connection is worth nothing in another.

**Source:** RFC 7030 section 3.5; RFC 5929 section 3; RFC 9266 section 2.
"""

from __future__ import annotations

import binascii
import hmac

from pkid.engine.model import RequesterKind
from pkid.errors import ErrorCode, PKIError
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.est.requests import Request


def check_binding(request: Request, csr: CertificationRequest) -> None:
    """Check what links the request's signature to the connection.

    A registration authority's connection is not the one that its client signed for
    (RFC 7030 section 3.7): nothing is checked there.

    :raises PKIError: ``BAD_POSSESSION`` when it is of another connection, or missing
        where it is demanded.
    """
    mode = request.alias.binding
    is_authority = request.requester.kind is RequesterKind.REGISTRATION_AUTHORITY
    if mode in {"ignore", "secret"} or is_authority:
        return
    challenge = csr.challenge_password
    if challenge is None:
        if mode == "require":
            raise PKIError(
                ErrorCode.BAD_POSSESSION,
                "linking of identity and proof of possession is required:"
                " put the channel binding into challengePassword",
            )
        return
    given = _decoded(challenge)
    for binding in request.exchange.peer.channel_bindings:
        if hmac.compare_digest(given, binding):
            return
    raise PKIError(
        ErrorCode.BAD_POSSESSION,
        "challengePassword is not the channel binding of this TLS connection",
        hint=f"a secret there is let pass by binding of alias {request.alias.name}",
    )


def _decoded(challenge: str) -> bytes:
    try:
        return binascii.a2b_base64("".join(challenge.split()).encode("ascii"))
    except ValueError:
        return b""
