"""Doors for accounts, orders and authorizations; the writing ones give Deferreds.

Decisions are audited with the fact, in one commit: an account that comes or goes,
control of an identifier that was proven or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from twisted.internet.defer import Deferred

from pkid.engine import audit
from pkid.engine.model import Issued, RequestContext
from pkid.engine.orders import (
    Account,
    AuthorizationStatus,
    Identifier,
    IdentifierAuthorization,
    Order,
    OrderStatus,
)
from pkid.engine.ports import Clock, Store
from pkid.engine.writes import (
    ConsumeCredential,
    InsertAccount,
    InsertOrder,
    SweepOrders,
    UpdateAccount,
    UpdateIdentifierAuthorization,
    UpdateOrder,
    Write,
)

#: What has expired is shown for a while, so that clients learn why.
KEPT = timedelta(days=30)
SWEEP_SLICE = 500


class Accounts:
    """What doors with accounts need of the store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    # --- accounts ----------------------------------------------------------------

    async def find(self, account: str) -> Account | None:
        """The account of this id."""
        return await self._store.find_account(account)

    async def find_by_key(self, alias: str, thumbprint: str) -> Account | None:
        """The account at an entrance whose key has this thumbprint."""
        return await self._store.find_account_by_key(alias, thumbprint)

    async def is_account_key(self, spki_hash: bytes) -> bool:
        """Whether any account has this key."""
        return await self._store.is_account_key(spki_hash)

    async def list(self, after: str = "", limit: int = 1000) -> Sequence[Account]:
        """Accounts by id, from ``after`` on."""
        return await self._store.list_accounts(after, limit)

    def create(
        self, account: Account, credential: int | None, context: RequestContext
    ) -> Deferred[None]:
        """Store a new account, and use the credential that vouched for it.

        :raises WriteConflict: when its key has an account, or the credential is used
            up.
        """
        writes: list[Write] = [InsertAccount(account)]
        if credential is not None:
            writes.append(ConsumeCredential(credential, self._clock.now()))
        event = self._event("account-created", account, context, account.binding)
        return self._store.commit(*writes, event)

    def update(
        self, account: Account, action: str, context: RequestContext
    ) -> Deferred[None]:
        """Replace an account.

        :param action: for the audit: "account-updated", "account-deactivated" ...
        :raises WriteConflict: when it changed meanwhile, or another has its key.
        """
        event = self._event(action, account, context)
        return self._store.commit(UpdateAccount(account), event)

    # --- orders ------------------------------------------------------------------

    async def find_order(self, order: str) -> Order | None:
        """The order of this id."""
        return await self._store.find_order(order)

    async def list_orders(
        self, account: str, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[Order]:
        """An account's orders, oldest first."""
        return await self._store.list_orders(account, after, limit)

    def add_order(
        self, order: Order | None, authorizations: Sequence[IdentifierAuthorization]
    ) -> Deferred[None]:
        """Store an order and the authorizations that are new with it."""
        return self._store.commit(InsertOrder(order, tuple(authorizations)))

    def update_order(self, order: Order) -> Deferred[None]:
        """Replace an order.

        :raises WriteConflict: when it changed meanwhile.
        """
        return self._store.commit(UpdateOrder(order))

    async def processing_orders(self, limit: int) -> Sequence[Order]:
        """Orders that wait for somebody's approval."""
        return await self._store.processing_orders(limit)

    # --- authorizations ----------------------------------------------------------

    async def find_authorization(
        self, authorization: str
    ) -> IdentifierAuthorization | None:
        """The authorization of this id."""
        return await self._store.find_identifier_authorization(authorization)

    async def authorizations(
        self, ids: Sequence[str]
    ) -> tuple[IdentifierAuthorization, ...]:
        """The authorizations of an order; one that was swept is left out."""
        found = [await self._store.find_identifier_authorization(one) for one in ids]
        return tuple(one for one in found if one is not None)

    async def authorizations_of(
        self, account: str, identifier: Identifier
    ) -> Sequence[IdentifierAuthorization]:
        """An account's authorizations for an identifier that have not expired."""
        now = self._clock.now()
        return await self._store.authorizations_of(account, identifier, now)

    def save_authorization(
        self,
        authorization: IdentifierAuthorization,
        account: Account,
        context: RequestContext,
        detail: str = "",
    ) -> Deferred[None]:
        """Replace an authorization; what is decided by it is audited.

        :raises WriteConflict: when it changed meanwhile.
        """
        writes: list[Write] = [UpdateIdentifierAuthorization(authorization)]
        if authorization.status is not AuthorizationStatus.PENDING:
            identifier = authorization.identifier
            what = f"{identifier.kind} {identifier.value} {authorization.how} {detail}"
            action = f"identifier-{authorization.status.value}"
            writes.append(self._event(action, account, context, what.strip()))
        return self._store.commit(*writes)

    def sweep(self) -> Deferred[None]:
        """Forget what expired long ago, a slice of it."""
        before = self._clock.now() - KEPT
        return self._store.commit(SweepOrders(before, SWEEP_SLICE))

    def _event(
        self, action: str, account: Account, context: RequestContext, detail: str = ""
    ) -> Write:
        facts = audit.Facts(alias=account.alias, detail=detail)
        actor = identity_of(account)
        return audit.of_action(self._clock.now(), action, actor, context, facts)


def identity_of(account: Account) -> str:
    """Identity of a requester that asks by its account."""
    return f"account:{account.id}"


def issued_write(order: Order, issued: Issued) -> Write:
    """What an order has come to once its certificate is issued."""
    return UpdateOrder(
        replace(
            order,
            status=OrderStatus.VALID,
            certificate=issued.certificate.reference,
        )
    )
