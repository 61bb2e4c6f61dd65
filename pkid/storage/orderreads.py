"""Reads of accounts, orders and authorizations of identifiers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from pkid.engine.orders import (
    Account,
    Identifier,
    IdentifierAuthorization,
    Order,
    OrderStatus,
)
from pkid.storage.orderrows import identifier_text, to_record
from pkid.storage.rows import Row, from_time

T = TypeVar("T", Account, Order, IdentifierAuthorization)


class Rows(Protocol):
    """How rows are read."""

    def _one(self, statement: str, values: Row = ()) -> Row | None: ...

    def _all(self, statement: str, values: Row = ()) -> list[Row]: ...


class OrderReads:
    """The part of the store's reads that orders need."""

    async def find_account(self: Rows, account: str) -> Account | None:
        """The account of this id."""
        row = self._one("SELECT record FROM accounts WHERE id = ?", (account,))
        return _record(row, Account)

    async def find_account_by_key(
        self: Rows, alias: str, thumbprint: str
    ) -> Account | None:
        """The account at this entrance whose key has this thumbprint."""
        row = self._one(
            "SELECT record FROM accounts WHERE alias = ? AND thumbprint = ?",
            (alias, thumbprint),
        )
        return _record(row, Account)

    async def is_account_key(self: Rows, spki_hash: bytes) -> bool:
        """Whether any account has this key."""
        statement = "SELECT 1 FROM accounts WHERE spki_hash = ? LIMIT 1"
        return self._one(statement, (spki_hash,)) is not None

    async def list_accounts(
        self: Rows, after: str = "", limit: int = 1000
    ) -> Sequence[Account]:
        """Accounts by id, from ``after`` on."""
        found = self._all(
            "SELECT record FROM accounts WHERE id > ? ORDER BY id LIMIT ?",
            (after, limit),
        )
        return [to_record(row[0], Account) for row in found]

    async def find_order(self: Rows, order: str) -> Order | None:
        """The order of this id."""
        row = self._one("SELECT record FROM orders WHERE id = ?", (order,))
        return _record(row, Order)

    async def list_orders(
        self: Rows, account: str, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[Order]:
        """An account's orders, oldest first, from ``after`` on."""
        moment, order = (0, "") if after is None else (from_time(after[0]), after[1])
        found = self._all(
            "SELECT record FROM orders WHERE account = ? AND (created, id) > (?, ?) "
            "ORDER BY created, id LIMIT ?",
            (account, moment, order, limit),
        )
        return [to_record(row[0], Order) for row in found]

    async def processing_orders(self: Rows, limit: int) -> Sequence[Order]:
        """Orders that wait for somebody's approval."""
        found = self._all(
            "SELECT record FROM orders WHERE status = ? LIMIT ?",
            (OrderStatus.PROCESSING.value, limit),
        )
        return [to_record(row[0], Order) for row in found]

    async def find_identifier_authorization(
        self: Rows, authorization: str
    ) -> IdentifierAuthorization | None:
        """The authorization of this id."""
        row = self._one(
            "SELECT record FROM identifier_authorizations WHERE id = ?",
            (authorization,),
        )
        return _record(row, IdentifierAuthorization)

    async def authorizations_of(
        self: Rows, account: str, identifier: Identifier, after: datetime
    ) -> Sequence[IdentifierAuthorization]:
        """An account's authorizations for an identifier that last beyond a moment."""
        found = self._all(
            "SELECT record FROM identifier_authorizations WHERE account = ? "
            "AND identifier = ? AND expires > ? ORDER BY expires DESC",
            (account, identifier_text(identifier), from_time(after)),
        )
        return [to_record(row[0], IdentifierAuthorization) for row in found]


def _record(row: Row | None, kind: type[T]) -> T | None:
    return None if row is None else to_record(row[0], kind)
