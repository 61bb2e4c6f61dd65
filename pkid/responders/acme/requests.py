"""Who asks: from the octets of a POST to an account or a key that signed it.

**Source:** RFC 8555 sections 6.2 to 6.5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from pkid.crypto.jwk import ALGORITHMS, PublicJWK
from pkid.engine.accounts import identity_of
from pkid.engine.model import RequestContext, Requester, RequesterKind
from pkid.engine.orders import Account, AccountStatus
from pkid.errors import ErrorCode, PKIError
from pkid.messages.jose import SignedRequest, decode_json_object
from pkid.responders.acme.aliases import PROTOCOL, ACMEAlias
from pkid.responders.acme.doors import Engine
from pkid.responders.acme.failures import ProblemError, malformed
from pkid.responders.acme.nonces import Nonces
from pkid.responders.acme.places import Places, check_url
from pkid.responders.base import Exchange

MEDIA_TYPE: Final = "application/jose+json"
#: Keys that were read lately: an account signs many requests.
MAX_KEYS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request whose signature holds.

    :ivar account: who signed; None when the request brought its own key.
    :ivar key: that signed.
    """

    alias: ACMEAlias
    exchange: Exchange
    context: RequestContext
    places: Places
    signed: SignedRequest = field(repr=False)
    key: PublicJWK
    account: Account | None

    @property
    def rest(self) -> str:
        """End of the path: which account, order ..."""
        return self.exchange.rest

    @property
    def owner(self) -> Account:
        """The account.

        :raises ProblemError: ``malformed`` when the request was signed by a bare key.
        """
        if self.account is None:
            raise malformed("this request needs kid, the URL of an account")
        return self.account

    @property
    def requester(self) -> Requester:
        """Its account, as the engine knows it."""
        return Requester(kind=RequesterKind.ACCOUNT, identity=identity_of(self.owner))

    @property
    def is_get(self) -> bool:
        """Whether it is a POST-as-GET."""
        return not self.signed.payload

    def check_get(self) -> None:
        """Refuse a payload where only reading makes sense.

        :raises ProblemError: ``malformed``.
        """
        if self.signed.payload:
            raise malformed("this resource is read: the payload must be empty")

    def members(self) -> dict[str, Any]:
        """The payload, a JSON object.

        :raises PKIError: ``MALFORMED``.
        """
        return decode_json_object(self.signed.payload)


class Requests:
    """Verifies requests."""

    def __init__(self, engine: Engine, nonces: Nonces) -> None:
        self._engine = engine
        self._nonces = nonces
        self._keys: dict[str, PublicJWK] = {}

    async def verify(
        self, alias: ACMEAlias, exchange: Exchange, places: Places
    ) -> Request:
        """The request of a POST.

        :raises PKIError: the refusal; the nonce is used up all the same.
        """
        check_media_type(exchange)
        signed = SignedRequest.decode(exchange.body)
        self._nonces.consume(signed.nonce)
        check_url(places, exchange, signed.url)
        if signed.algorithm not in ALGORITHMS:
            raise ProblemError(
                "badSignatureAlgorithm",
                400,
                "the signature algorithm is not taken here",
                algorithms=list(ALGORITHMS),
            )
        account, key = await self._signer(alias, signed, places)
        _check_signature(key, signed)
        if account is not None and account.status is not AccountStatus.VALID:
            raise ProblemError(
                "unauthorized", 401, f"the account is {account.status.value}"
            )
        return Request(
            alias=alias,
            exchange=exchange,
            context=context_of(exchange),
            places=places,
            signed=signed,
            key=key,
            account=account,
        )

    async def _signer(
        self, alias: ACMEAlias, signed: SignedRequest, places: Places
    ) -> tuple[Account | None, PublicJWK]:
        if signed.key is not None:
            return None, public_key(signed.key)
        account = await self._account(alias, signed.key_id or "", places)
        if account is None:
            raise ProblemError(
                "accountDoesNotExist", 400, "there is no account of this URL"
            )
        return account, self._key_of(account)

    async def _account(
        self, alias: ACMEAlias, url: str, places: Places
    ) -> Account | None:
        start = places("account", "")
        if not url.startswith(start):
            return None
        account = await self._engine.accounts.find(url.removeprefix(start))
        return account if account and account.alias == alias.name else None

    def _key_of(self, account: Account) -> PublicJWK:
        found = self._keys.get(account.key)
        if found is None:
            found = PublicJWK.decode(decode_json_object(account.key.encode()))
            if len(self._keys) >= MAX_KEYS:
                del self._keys[next(iter(self._keys))]
            self._keys[account.key] = found
        return found


def check_media_type(exchange: Exchange) -> None:
    """Refuse a body of another media type.

    :raises ProblemError: ``malformed`` 415.
    """
    media_type = exchange.headers.get("content-type", "").partition(";")[0].strip()
    if media_type.lower() != MEDIA_TYPE:
        raise ProblemError("malformed", 415, f"the body must be {MEDIA_TYPE}")


def public_key(members: Any) -> PublicJWK:  # noqa: ANN401 - JSON
    """The key of a ``jwk`` member.

    :raises ProblemError: ``badPublicKey``.
    """
    try:
        return PublicJWK.decode(members)
    except PKIError as error:
        raise ProblemError("badPublicKey", 400, error.detail) from error


def _check_signature(key: PublicJWK, signed: SignedRequest) -> None:
    try:
        key.verify(signed.algorithm, signed.signing_input, signed.signature)
    except PKIError as error:
        if error.code is ErrorCode.BAD_ALGORITHM:
            raise ProblemError(
                "badSignatureAlgorithm", 400, error.detail, algorithms=list(ALGORITHMS)
            ) from error
        raise


def context_of(exchange: Exchange) -> RequestContext:
    """Where an exchange came in."""
    peer = exchange.peer
    return RequestContext(
        protocol=PROTOCOL,
        transport=exchange.transport,
        peer=peer.address,
        beyond_loopback=peer.beyond_loopback,
    )
