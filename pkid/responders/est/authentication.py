"""Who asks: by the certificate of the connection, by a password, or by both.

The certificate is looked at anew for every request, also on a connection that is kept
or resumed. Headers that proxies set say nothing here.

**Source:** RFC 7030 sections 2.2, 3.2.3 and 3.3; RFC 7617; RFC 7616.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from pkid.asn1 import oids
from pkid.crypto.certificates import Certificate, extended_key_usages
from pkid.crypto.httpdigest import MD5, SHA256, DigestCredentials
from pkid.engine.credentials import AuthenticationFailure, SharedSecret
from pkid.engine.model import (
    CredentialKind,
    RequestContext,
    Requester,
    RequesterKind,
)
from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.base import Exchange
from pkid.responders.est.aliases import PROTOCOL, ESTAlias
from pkid.responders.est.bodies import request_octets
from pkid.responders.est.doors import Engine
from pkid.responders.throttle import FailureThrottle

KIND: Final = CredentialKind.ENROLLMENT_CODE
NONCE_SECONDS: Final = 300
MAX_USER_OCTETS: Final = 128
_ALGORITHM_OF: Final = {"digest-sha256": SHA256, "digest-md5": MD5}
_PURPOSES: Final = frozenset(
    (oids.ID_KP_CLIENT_AUTH, oids.ID_KP_ANY_EXTENDED_KEY_USAGE, oids.ID_KP_CMC_RA)
)
_WRONG: Final = "wrong user or password"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """Who asks.

    :ivar usable: False for a code that is used up: it only fetches again what it was
        used for.
    :ivar hint: for the operator, why not.
    """

    requester: Requester
    usable: bool = True
    hint: str = ""


@dataclass(frozen=True, slots=True)
class _Password:
    """What an Authorization header says.

    :ivar check: raises when this is not the user's password.
    """

    user: str
    check: Callable[[bytes], None]


class Identities:
    """Finds out who asks.

    :param random: octets from the system's CSPRNG, for the key of Digest nonces.
    """

    def __init__(
        self, engine: Engine, clock: Clock, random: Callable[[int], bytes]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._throttle = FailureThrottle(clock)
        self._nonce_key = random(32)

    async def prove(
        self, alias: ESTAlias, exchange: Exchange, context: RequestContext
    ) -> Proven:
        """Who asks, by what the alias accepts.

        :raises PKIError: ``BAD_MESSAGE_CHECK`` when a password is wanted (401),
            ``BUSY``, and whatever `identify` raises.
        """
        self._throttle.check(exchange.peer)
        holder, refusal = await self._holder(alias, exchange, context)
        if holder is not None and not alias.both:
            return Proven(requester=holder)
        if not alias.takes_passwords:
            raise refusal or _nobody()
        if alias.both and holder is None:
            raise refusal or _nobody()
        return await self._by_password(alias, exchange, context, holder, refusal)

    # --- by certificate ----------------------------------------------------------

    async def _holder(
        self, alias: ESTAlias, exchange: Exchange, context: RequestContext
    ) -> tuple[Requester | None, PKIError | None]:
        leaf = exchange.peer.certificate
        if leaf is None:
            return None, None
        try:
            _check_purpose(leaf)
            found = await self._engine.identify(alias.alias, leaf, exchange.peer.chain)
        except PKIError as error:
            if not ("authorization" in exchange.headers and alias.takes_passwords):
                await self._report(alias, context, error, _actor(leaf))
            return None, error
        return found, None

    # --- by password -------------------------------------------------------------

    async def _by_password(
        self,
        alias: ESTAlias,
        exchange: Exchange,
        context: RequestContext,
        holder: Requester | None,
        refusal: PKIError | None,
    ) -> Proven:
        given = exchange.headers.get("authorization")
        if given is None and alias.binding == "secret" and _is_simple(exchange):
            known = await self._by_challenge(alias, exchange, context)
            return _proven(known, holder)
        if given is None:
            detail = "authentication is needed"
            if refusal is not None:
                detail = f"{refusal.detail}; {detail}"
            raise PKIError(
                ErrorCode.BAD_MESSAGE_CHECK,
                detail,
                hint=None if refusal is None else refusal.hint,
            )
        password = self._password(alias, exchange, given)
        shared = await self._engine.find_secret(KIND, password.user, alias.name)
        if shared is None or _is_wrong(password, shared):
            self._throttle.count(exchange.peer)
            hint = f"wrong password for {password.user!r}"
            if shared is None:
                hint = f"no enrolment code of {password.user!r}: pkid secret list"
            error = PKIError(ErrorCode.BAD_MESSAGE_CHECK, _WRONG, hint=hint)
            await self._report(alias, context, error, password.user, shared)
            raise error
        return _proven(shared, holder)

    async def _by_challenge(
        self, alias: ESTAlias, exchange: Exchange, context: RequestContext
    ) -> SharedSecret:
        """A SCEP challenge in challengePassword: gateways carry it over as it is.

        :raises PKIError: ``BAD_MESSAGE_CHECK``; ``MALFORMED`` for a broken request.
        """
        octets = request_octets(exchange)
        challenge = CertificationRequest.decode(octets).challenge_password or ""
        shared = None
        if challenge:
            shared = await self._engine.find_challenge(challenge.encode(), alias.name)
        if shared is None:
            self._throttle.count(exchange.peer)
            error = PKIError(
                ErrorCode.BAD_MESSAGE_CHECK,
                "the challengePassword is none that is known here",
                hint="pkid scep challenge",
            )
            await self._report(alias, context, error, "challenge")
            raise error
        return shared

    def _password(self, alias: ESTAlias, exchange: Exchange, given: str) -> _Password:
        scheme, _, rest = given.strip().partition(" ")
        offered = alias.http_authentication
        if scheme.lower() == "basic" and "basic" in offered:
            return _basic(rest.strip())
        if scheme.lower() == "digest":
            return self._digest(alias, exchange, rest)
        raise PKIError(
            ErrorCode.BAD_MESSAGE_CHECK, "this way to authenticate is not offered here"
        )

    def _digest(self, alias: ESTAlias, exchange: Exchange, rest: str) -> _Password:
        try:
            found = DigestCredentials.decode(rest)
        except PKIError as error:
            raise PKIError(ErrorCode.BAD_MESSAGE_CHECK, error.detail) from error
        if not is_user(found.username):
            raise _malformed_header()
        algorithms = {_ALGORITHM_OF.get(one) for one in alias.http_authentication}
        fits = (
            found.algorithm in algorithms
            and found.realm == realm(alias)
            and found.uri.partition("?")[0].endswith(_paths(exchange))
            and self._is_fresh(found.nonce)
        )

        def check(secret: bytes) -> None:
            found.verify(secret, exchange.method)
            if not fits:
                raise PKIError(
                    ErrorCode.BAD_MESSAGE_CHECK, "the Digest is not for this request"
                )

        return _Password(found.username, check)

    # --- what is offered ---------------------------------------------------------

    def challenges(self, alias: ESTAlias) -> tuple[tuple[str, str], ...]:
        """WWW-Authenticate headers, one a scheme, in the configured order."""
        if not alias.takes_passwords:
            return ()
        return tuple(
            ("WWW-Authenticate", self._challenge(alias, scheme))
            for scheme in alias.http_authentication
        )

    def _challenge(self, alias: ESTAlias, scheme: str) -> str:
        if scheme == "basic":
            return f'Basic realm="{realm(alias)}", charset="UTF-8"'
        challenge = (
            f'Digest realm="{realm(alias)}", qop="auth", nonce="{self._nonce()}"'
        )
        # MD5 goes without saying. Bouncy Castle 1.72 wants everything in quotes,
        # and RFC 7616 section 3.3 wants this without.
        if scheme == "digest-md5":
            return challenge
        return f"{challenge}, algorithm={_ALGORITHM_OF[scheme]}"

    def _nonce(self) -> str:
        slot = str(int(self._clock.now().timestamp()))
        return f"{slot}-{self._seal(slot)}"

    def _seal(self, slot: str) -> str:
        digest = hmac.new(self._nonce_key, slot.encode("ascii"), hashlib.sha256)
        return digest.hexdigest()[:32]

    def _is_fresh(self, nonce: str) -> bool:
        slot, _, seal = nonce.partition("-")
        if not (slot.isascii() and slot.isdigit() and len(slot) <= 12):
            return False
        age = self._clock.now().timestamp() - int(slot)
        genuine = hmac.compare_digest(seal.encode(), self._seal(slot).encode())
        return genuine and -1 <= age <= NONCE_SECONDS

    async def _report(
        self,
        alias: ESTAlias,
        context: RequestContext,
        error: PKIError,
        actor: str,
        shared: SharedSecret | None = None,
    ) -> None:
        failure = AuthenticationFailure(
            error=error,
            context=context,
            alias=alias.name,
            actor=actor,
            credential=None if shared is None else shared.credential,
        )
        await self._engine.report_failure(failure)


def realm(alias: ESTAlias) -> str:
    """The realm of an entrance."""
    return f"{PROTOCOL} {alias.name}"


def _is_simple(exchange: Exchange) -> bool:
    """Whether the body is a PKCS #10 request, where a challengePassword can stand."""
    return exchange.method == "POST" and exchange.operation != "fullcmc"


def _is_wrong(password: _Password, shared: SharedSecret) -> bool:
    try:
        password.check(shared.secret)
    except PKIError:
        return True
    return False


def _proven(shared: SharedSecret, holder: Requester | None) -> Proven:
    requester = shared.requester
    if holder is not None:
        if requester.entity not in (None, holder.entity):
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED,
                "certificate and password belong to different end entities",
            )
        # The certificate says who, the code is consumed and bounds the subject.
        requester = replace(
            holder,
            credential=requester.credential,
            subject_pattern=requester.subject_pattern,
        )
    return Proven(requester=requester, usable=shared.usable, hint=shared.hint)


def _basic(text: str) -> _Password:
    try:
        octets = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
        user, colon, password = octets.partition(b":")
        name = user.decode("utf-8")
    except ValueError:
        name, colon, password = "", b"", b""
    if not (colon and is_user(name)):
        raise _malformed_header()

    def check(secret: bytes) -> None:
        if not hmac.compare_digest(password, secret):
            raise PKIError(ErrorCode.BAD_MESSAGE_CHECK, _WRONG)

    return _Password(name, check)


def is_user(name: str) -> bool:
    """Whether a secret can have this name; others are not even written down."""
    return name.isprintable() and 1 <= len(name.encode()) <= MAX_USER_OCTETS


def _malformed_header() -> PKIError:
    return PKIError(
        ErrorCode.BAD_MESSAGE_CHECK, "the Authorization header is malformed"
    )


def _paths(exchange: Exchange) -> tuple[str, str]:
    base = "/.well-known/est/"
    return (
        f"{base}{exchange.operation}",
        f"{base}{exchange.alias}/{exchange.operation}",
    )


def _check_purpose(leaf: bytes) -> None:
    """A server's or a signer's certificate is nobody's entrance ticket.

    :raises PKIError: ``SIGNER_NOT_TRUSTED``, ``MALFORMED``.

    **Source:** RFC 7030 section 3.3.2; RFC 5280 section 4.2.1.12.
    """
    if not _serves_clients(leaf):
        raise PKIError(
            ErrorCode.SIGNER_NOT_TRUSTED,
            "the client certificate is not for TLS clients (extended key usage)",
        )


@lru_cache(maxsize=512)
def _serves_clients(leaf: bytes) -> bool:
    # Asked for each request of a connection; the answer never changes.
    purposes = extended_key_usages(Certificate.decode(leaf))
    return not purposes or not _PURPOSES.isdisjoint(purposes)


def _actor(leaf: bytes) -> str:
    return f"certificate {hashlib.sha256(leaf).hexdigest()[:40]}"


def _nobody() -> PKIError:
    return PKIError(ErrorCode.NOT_AUTHORIZED, "a client certificate is needed here")


#: Requesters that hold a certificate of the connection.
BY_CERTIFICATE: Final = frozenset(
    (
        RequesterKind.CERTIFICATE,
        RequesterKind.VENDOR,
        RequesterKind.REGISTRATION_AUTHORITY,
    )
)
