"""The page that gives out challenges, as Windows' NDES has it.

MDM servers read it as people do: they log in, look for the thumbprint and the
challenge between ``<B>`` and ``</B>``, and hand the challenge to one device. The page
is UTF-16 unless UTF-8 or JSON is asked for::

    GET /certsrv/mscep_admin/                        UTF-16
    GET /certsrv/mscep_admin/?charset=utf-8          UTF-8
    GET /certsrv/mscep_admin/?format=json            JSON (or Accept: application/json)

Whoever asks is known by user and password (``pkid secret add --kind ndes``) or is a
registration authority of the entrance by its TLS certificate.

**Source:** security requirement SCEP-50; RFC 7617.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from html import escape
from typing import Final
from urllib.parse import parse_qs

from twisted.logger import Logger

from pkid.engine.challenges import PageChallenge
from pkid.engine.credentials import (
    AuthenticationFailure,
    SharedSecret,
)
from pkid.engine.model import (
    CredentialKind,
    RequestContext,
    RequesterKind,
)
from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.responders.base import Exchange, Reply
from pkid.responders.scep.aliases import SCEPAlias
from pkid.responders.scep.doors import Engine
from pkid.responders.scep.failures import http_refusal, text_reply
from pkid.responders.scep.requests import PROTOCOL
from pkid.responders.throttle import FailureThrottle

CHALLENGE_OCTETS: Final = 8
_REALM: Final = ("WWW-Authenticate", 'Basic realm="pkid challenges", charset="UTF-8"')
_NO_CACHE: Final = ("Cache-Control", "no-store")
_PAGE: Final = """\
<HTML><HEAD>
<META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset={charset}">
<TITLE>Network Device Enrollment Service</TITLE>
</HEAD><BODY>
<P>Network Device Enrollment Service: challenges for SCEP, entrance {alias}.</P>
<P>The thumbprint (hash value) for the CA certificate is: <B> {thumbprint} </B></P>
<P>The enrollment challenge password is: <B> {challenge} </B></P>
<P>This password can be used only once and will expire within {minutes} minutes.</P>
<P>Each enrollment requires a new challenge password.
You can refresh this web page to obtain a new challenge password.</P>
</BODY></HTML>
"""


class NDESResponder:
    """Serves the page of every entrance that has it switched on."""

    log = Logger()

    def __init__(
        self,
        engine: Engine,
        aliases: Callable[[], Mapping[str, SCEPAlias]],
        *,
        clock: Clock,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._engine = engine
        self._aliases = aliases
        self._throttle = FailureThrottle(clock)
        self._random = random

    async def respond(self, exchange: Exchange) -> Reply:
        """Answer one exchange; never raises for anything a client can send."""
        try:
            return await self._respond(exchange)
        except PKIError as error:
            if error.code is ErrorCode.INTERNAL:
                self.log.failure("ndes {alias}: internal error", alias=exchange.alias)
            return http_refusal(error)
        except Exception:  # noqa: BLE001  the one place; logged with its traceback
            self.log.failure("ndes {alias}: internal error", alias=exchange.alias)
            return http_refusal(PKIError(ErrorCode.INTERNAL, "internal error"))

    async def _respond(self, exchange: Exchange) -> Reply:
        alias = self._aliases().get(exchange.alias)
        if alias is None or not alias.ndes:
            return text_reply(404, "there is no such page")
        peer = exchange.peer
        if peer.beyond_loopback and not peer.secure:
            return text_reply(403, "this page is served over HTTPS only")
        self._throttle.check(peer)
        owner = await self._who(alias, exchange)
        if owner is None:
            return text_reply(401, "who are you?", _REALM, _NO_CACHE)
        challenge = await self._mint(alias, exchange, owner)
        return self._page(alias, exchange, challenge)

    async def _mint(self, alias: SCEPAlias, exchange: Exchange, owner: str) -> str:
        challenge = self._random(CHALLENGE_OCTETS).hex().upper()
        wanted = PageChallenge(
            secret=challenge.encode(),
            alias=alias.name,
            owner=owner,
            validity=alias.ndes_validity,
            outstanding=alias.ndes_outstanding,
        )
        await self._engine.challenges.mint(wanted, _context(exchange))
        return challenge

    # --- who asks ----------------------------------------------------------------

    async def _who(self, alias: SCEPAlias, exchange: Exchange) -> str | None:
        """Identity of who asks; None when nobody is known."""
        found = await self._by_certificate(alias, exchange)
        return found or await self._by_password(alias, exchange)

    async def _by_certificate(self, alias: SCEPAlias, exchange: Exchange) -> str | None:
        peer = exchange.peer
        if peer.certificate is None:
            return None
        try:
            found = await self._engine.identify(
                alias.alias, peer.certificate, peer.chain
            )
        except PKIError:
            return None
        if found.kind is not RequesterKind.REGISTRATION_AUTHORITY:
            return None
        return f"ndes:{found.identity}"

    async def _by_password(self, alias: SCEPAlias, exchange: Exchange) -> str | None:
        given = _basic(exchange.headers.get("authorization", ""))
        if given is None:
            return None
        user, password = given
        found = await self._engine.find_secret(CredentialKind.NDES, user, alias.name)
        known = b"" if found is None else found.secret
        # Compared also where there is nothing to compare with.
        same = hmac.compare_digest(known, password)
        if found is not None and same and found.usable:
            return f"ndes:{user}"
        await self._refused(alias, exchange, found)
        return None

    async def _refused(
        self, alias: SCEPAlias, exchange: Exchange, found: SharedSecret | None
    ) -> None:
        self._throttle.count(exchange.peer)
        failure = AuthenticationFailure(
            error=PKIError(
                ErrorCode.NOT_AUTHORIZED,
                "wrong user or password",
                hint=found.hint if found is not None and found.hint else None,
            ),
            context=_context(exchange),
            alias=alias.name,
            actor="ndes:nobody",
            credential=None if found is None else found.credential,
        )
        await self._engine.report_failure(failure)

    # --- what is shown -------------------------------------------------------------

    def _page(self, alias: SCEPAlias, exchange: Exchange, challenge: str) -> Reply:
        certificate = self._engine.chain(alias.alias.authority)[0]
        wanted = parse_qs(exchange.query)
        if _wants_json(exchange, wanted):
            return _json(alias, certificate, challenge)
        utf8 = wanted.get("charset", [""])[0].lower() in {"utf-8", "utf8"}
        charset = "utf-8" if utf8 else "utf-16"
        digest = hashlib.sha1(certificate, usedforsecurity=False).hexdigest().upper()
        text = _PAGE.format(
            charset=charset,
            alias=escape(alias.name),
            thumbprint=" ".join(digest[at : at + 8] for at in range(0, 40, 8)),
            challenge=challenge,
            minutes=int(alias.ndes_validity.total_seconds() // 60),
        )
        # Python's utf-16 begins with the mark by which readers know it.
        return Reply(
            body=text.encode(charset),
            content_type=f"text/html; charset={charset}",
            headers=(_NO_CACHE,),
        )


def _wants_json(exchange: Exchange, wanted: Mapping[str, list[str]]) -> bool:
    if wanted.get("format") == ["json"]:
        return True
    return exchange.headers.get("accept", "").startswith("application/json")


def _json(alias: SCEPAlias, certificate: bytes, challenge: str) -> Reply:
    body = {
        "alias": alias.name,
        "challenge": challenge,
        "expires_in": int(alias.ndes_validity.total_seconds()),
        "thumbprints": {
            "sha1": hashlib.sha1(certificate, usedforsecurity=False).hexdigest(),
            "sha256": hashlib.sha256(certificate).hexdigest(),
        },
    }
    return Reply(
        body=json.dumps(body).encode(),
        content_type="application/json",
        headers=(_NO_CACHE,),
    )


def _basic(header: str) -> tuple[str, bytes] | None:
    """User and password of HTTP's Basic scheme; None for anything else."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        octets = base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    user, colon, password = octets.partition(b":")
    return (user.decode("utf-8", "replace"), password) if colon else None


def _context(exchange: Exchange) -> RequestContext:
    peer = exchange.peer
    return RequestContext(
        protocol=PROTOCOL,
        transport=exchange.transport,
        peer=peer.address,
        beyond_loopback=peer.beyond_loopback,
    )
