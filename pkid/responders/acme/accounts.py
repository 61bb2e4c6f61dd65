"""newAccount, account, orders list and keyChange.

**Source:** RFC 8555 sections 7.1.2, 7.3 and 7.3.1 to 7.3.6.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from pkid.crypto.jwk import verify_mac
from pkid.engine.credentials import AuthenticationFailure, SharedSecret
from pkid.engine.model import CredentialKind
from pkid.engine.orders import Account, AccountStatus
from pkid.engine.ports import Clock
from pkid.engine.writes import ConsumeCredential, WriteConflict
from pkid.errors import ErrorCode, PKIError
from pkid.messages.jose import SignedRequest, decode_json_object, encode_json
from pkid.responders.acme.aliases import ACMEAlias
from pkid.responders.acme.doors import Engine
from pkid.responders.acme.failures import ProblemError, malformed, not_found
from pkid.responders.acme.replies import json_reply, link, location, without_none
from pkid.responders.acme.requests import Request, public_key
from pkid.responders.base import Reply

ID_OCTETS: Final = 15
MAX_CONTACTS: Final = 10
PAGE: Final = 100
_CREATED: Final = 201
_ADDRESS: Final = re.compile(
    r"[A-Za-z0-9._%+/=~-]{1,64}@[A-Za-z0-9.-]{1,253}"
).fullmatch


def new_id(random: Callable[[int], bytes]) -> str:
    """An id that nobody guesses, fit for URLs."""
    return base64.b32encode(random(ID_OCTETS)).decode("ascii").lower()


class AccountResources:
    """Answers them."""

    def __init__(
        self, engine: Engine, clock: Clock, random: Callable[[int], bytes]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._random = random

    async def new(self, request: Request) -> Reply:
        """Make an account, or find the one of this key."""
        if request.account is not None:
            raise malformed("newAccount is signed with jwk, not with kid")
        members = request.members()
        found = await self._engine.accounts.find_by_key(
            request.alias.name, request.key.thumbprint
        )
        if found is not None:
            return self._existing(request, found)
        if members.get("onlyReturnExisting") is True:
            raise ProblemError(
                "accountDoesNotExist", 400, "there is no account with this key"
            )
        account, credential = await self._made(request, members)
        try:
            await self._engine.accounts.create(account, credential, request.context)
        except WriteConflict as conflict:
            return await self._lost(request, conflict)
        return self._shown(request, account, status=_CREATED)

    async def _lost(self, request: Request, conflict: WriteConflict) -> Reply:
        """Another request was first: with this key, or with the external account."""
        if isinstance(conflict.write, ConsumeCredential):
            raise _unauthorized("the external account key is used up") from conflict
        found = await self._engine.accounts.find_by_key(
            request.alias.name, request.key.thumbprint
        )
        if found is None:
            raise conflict
        return self._existing(request, found)

    def _existing(self, request: Request, account: Account) -> Reply:
        if account.status is not AccountStatus.VALID:
            raise ProblemError(
                "unauthorized", 401, f"the account is {account.status.value}"
            )
        return self._shown(request, account)

    async def _made(
        self, request: Request, members: dict[str, Any]
    ) -> tuple[Account, int | None]:
        alias = request.alias
        agreed = members.get("termsOfServiceAgreed") is True
        if alias.terms_of_service and not agreed:
            raise ProblemError(
                "userActionRequired",
                403,
                "the terms of service must be agreed to",
                headers=(link(alias.terms_of_service, "terms-of-service"),),
                instance=alias.terms_of_service,
            )
        contacts = _contacts(members.get("contact", []), alias)
        binding = members.get("externalAccountBinding")
        secret = await self._bound(request, binding)
        account = Account(
            id=new_id(self._random),
            alias=alias.name,
            thumbprint=request.key.thumbprint,
            key=encode_json(dict(request.key.members)).decode(),
            spki_hash=hashlib.sha256(request.key.spki).digest(),
            created=self._clock.now(),
            contacts=contacts,
            terms_agreed=agreed,
            binding="" if secret is None else secret.credential.reference,
            binding_proof="" if secret is None else encode_json(binding).decode(),
        )
        return account, None if secret is None else secret.credential.id

    # --- external accounts -------------------------------------------------------

    async def _bound(self, request: Request, binding: Any) -> SharedSecret | None:  # noqa: ANN401
        """The external account key that vouches for a new account.

        :raises ProblemError: ``externalAccountRequired``, ``unauthorized``,
            ``malformed``.
        """
        wanted = request.alias.external_account
        if binding is None:
            if wanted == "required":
                raise ProblemError(
                    "externalAccountRequired",
                    403,
                    "a new account needs an external account key",
                    hint="pkid acme eab",
                )
            return None
        if wanted == "off":
            raise malformed("external accounts are not bound here")
        if not isinstance(binding, dict):
            raise malformed("externalAccountBinding is not an object")
        signed = SignedRequest.of(binding)
        _check_binding(request, signed)
        return await self._vouching(request, signed)

    async def _vouching(self, request: Request, signed: SignedRequest) -> SharedSecret:
        key_id = signed.key_id or ""
        secret = await self._engine.find_secret(
            CredentialKind.ACME_EAB, key_id, request.alias.name
        )
        try:
            _check_mac(secret, signed)
        except PKIError as error:
            if error.code is ErrorCode.BAD_ALGORITHM:
                raise malformed(error.detail) from error
            await self._engine.report_failure(
                AuthenticationFailure(
                    error=error,
                    context=request.context,
                    alias=request.alias.name,
                    actor=f"secret:{CredentialKind.ACME_EAB.value}:{key_id:.64}",
                    credential=None if secret is None else secret.credential,
                )
            )
            raise _unauthorized("the external account binding does not hold") from error
        if secret is None:
            raise PKIError(ErrorCode.INTERNAL, "a binding without its key")
        return secret

    # --- one account -------------------------------------------------------------

    async def one(self, request: Request) -> Reply:
        """Read, change or deactivate the account that asks."""
        account = _own(request)
        if request.is_get:
            return self._shown(request, account)
        members = request.members()
        status = members.get("status")
        if status == AccountStatus.DEACTIVATED.value:
            gone = replace(account, status=AccountStatus.DEACTIVATED)
            await self._engine.accounts.update(
                gone, "account-deactivated", request.context
            )
            return self._shown(request, gone)
        if status not in (None, AccountStatus.VALID.value):
            raise malformed("an account can only be deactivated")
        if "contact" in members:
            contacts = _contacts(members["contact"], request.alias)
            if contacts != account.contacts:
                account = replace(account, contacts=contacts)
                await self._engine.accounts.update(
                    account, "account-updated", request.context
                )
        return self._shown(request, account)

    async def orders(self, request: Request) -> Reply:
        """URLs of the account's orders, a page."""
        request.check_get()
        account = _own(request)
        after = _cursor(request.exchange.query)
        page = await self._engine.accounts.list_orders(account.id, after, PAGE)
        urls = [request.places("order", order.id) for order in page]
        headers = []
        if len(page) == PAGE:
            last = page[-1]
            mark = f"{last.created.timestamp():.6f}.{last.id}"
            url = f"{request.places('orders', account.id)}?cursor={mark}"
            headers.append(link(url, "next"))
        return json_reply({"orders": urls}, *headers)

    # --- keyChange ---------------------------------------------------------------

    async def change_key(self, request: Request) -> Reply:
        """Give the account another key, which signs the inner request."""
        account = request.owner
        inner = SignedRequest.of(request.members())
        if inner.key is None or inner.url != request.signed.url:
            raise malformed("the inner request needs jwk and the outer one's url")
        key = public_key(inner.key)
        key.verify(inner.algorithm, inner.signing_input, inner.signature)
        _check_change(request, account, decode_json_object(inner.payload))
        changed = replace(
            account,
            thumbprint=key.thumbprint,
            key=encode_json(dict(key.members)).decode(),
            spki_hash=hashlib.sha256(key.spki).digest(),
        )
        found = await self._engine.accounts.find_by_key(account.alias, key.thumbprint)
        if found is not None:
            raise _taken(request, found)
        await self._engine.accounts.update(
            changed, "account-key-changed", request.context
        )
        return self._shown(request, changed)

    def _shown(self, request: Request, account: Account, status: int = 200) -> Reply:
        url = request.places("account", account.id)
        proof = account.binding_proof
        document = without_none(
            status=account.status.value,
            contact=list(account.contacts),
            termsOfServiceAgreed=account.terms_agreed or None,
            externalAccountBinding=decode_json_object(proof.encode())
            if proof
            else None,
            orders=request.places("orders", account.id),
        )
        return json_reply(document, location(url), status=status)


def _own(request: Request) -> Account:
    """The account of the URL, which must be the one that signed."""
    if request.rest != request.owner.id:
        raise not_found()
    return request.owner


def _check_mac(secret: SharedSecret | None, signed: SignedRequest) -> None:
    """Verify an external account binding under the key that it names."""
    if secret is None:
        raise PKIError(
            ErrorCode.BAD_MESSAGE_CHECK,
            "the external account binding does not hold",
            hint="no external account key has this id: pkid acme eab",
        )
    verify_mac(signed.algorithm, secret.secret, signed.signing_input, signed.signature)
    if not secret.usable:
        raise PKIError(
            ErrorCode.BAD_MESSAGE_CHECK,
            "the external account binding does not hold",
            hint=secret.hint,
        )


def _check_binding(request: Request, signed: SignedRequest) -> None:
    if signed.nonce is not None or signed.key is not None:
        raise malformed("externalAccountBinding has kid and neither nonce nor jwk")
    if signed.url != request.signed.url:
        raise malformed("externalAccountBinding has another url than the request")
    key = public_key(decode_json_object(signed.payload))
    if key.thumbprint != request.key.thumbprint:
        raise malformed("externalAccountBinding is for another key")


def _check_change(request: Request, account: Account, payload: dict[str, Any]) -> None:
    if payload.get("account") != request.places("account", account.id):
        raise malformed("the inner request names another account")
    if public_key(payload.get("oldKey") or {}).thumbprint != account.thumbprint:
        raise malformed("oldKey is not the key of the account")


def _taken(request: Request, account: Account) -> ProblemError:
    url = request.places("account", account.id)
    return ProblemError(
        "malformed", 409, "another account has this key", headers=(location(url),)
    )


def _contacts(members: Any, alias: ACMEAlias) -> tuple[str, ...]:  # noqa: ANN401
    if not isinstance(members, list) or len(members) > MAX_CONTACTS:
        raise malformed(f"contact is a list of at most {MAX_CONTACTS}")
    for one in members:
        if not isinstance(one, str):
            raise malformed("a contact is a text")
        scheme, _, address = one.partition(":")
        if scheme.lower() != "mailto":
            raise ProblemError(
                "unsupportedContact", 400, "only mailto addresses are taken"
            )
        if _ADDRESS(address) is None:
            raise ProblemError(
                "invalidContact", 400, "a contact is one address, without more"
            )
    if alias.require_contact and not members:
        raise ProblemError("invalidContact", 400, "an account needs an address")
    return tuple(members)


def _cursor(query: str) -> tuple[datetime, str] | None:
    mark = query.removeprefix("cursor=")
    if mark == query:
        return None
    seconds, fraction, rest = (*mark.split(".", 2), "", "", "")[:3]
    try:
        moment = float(f"{seconds}.{fraction}")
        return datetime.fromtimestamp(moment, UTC), rest
    except (ValueError, OverflowError):
        raise malformed("the cursor is not one of this server") from None


def _unauthorized(detail: str) -> ProblemError:
    return ProblemError("unauthorized", 403, detail)
