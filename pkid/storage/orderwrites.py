"""Writes of accounts, orders and authorizations of identifiers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

from pkid.engine.orders import Account, IdentifierAuthorization, Order
from pkid.engine.writes import (
    InsertAccount,
    InsertOrder,
    SweepOrders,
    UpdateAccount,
    UpdateIdentifierAuthorization,
    UpdateOrder,
    Write,
    WriteConflict,
)
from pkid.storage import orderrows
from pkid.storage.rows import Row, from_time

T = TypeVar("T", Account, Order, IdentifierAuthorization)

_SWEEP_ORDERS: Final = (
    "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE expires < ? LIMIT ?)"
)
_SWEEP_AUTHORIZATIONS: Final = (
    "DELETE FROM identifier_authorizations WHERE id IN "
    "(SELECT id FROM identifier_authorizations WHERE expires < ? LIMIT ?)"
)


class OrderWrites:
    """Executes them on a cursor; conflicts by `WriteConflict` or a unique key."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    def table(self) -> dict[type, Callable[[Any], None]]:
        """What executes each kind of write."""
        return {
            InsertAccount: self._insert_account,
            UpdateAccount: self._update_account,
            InsertOrder: self._insert_order,
            UpdateOrder: self._update_order,
            UpdateIdentifierAuthorization: self._update_authorization,
            SweepOrders: self._sweep,
        }

    def _insert_account(self, write: InsertAccount) -> None:
        self._cursor.execute(
            "INSERT INTO accounts (id, alias, thumbprint, spki_hash, version, record) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            orderrows.from_account(write.account),
        )

    def _update_account(self, write: UpdateAccount) -> None:
        after = _next(write.account)
        row = orderrows.from_account(after)
        self._change(
            write,
            "UPDATE accounts SET thumbprint = ?3, spki_hash = ?4, version = ?5, "
            "record = ?6 WHERE id = ?1 AND alias = ?2 AND version = ?7",
            (*row, write.account.version),
        )

    def _insert_order(self, write: InsertOrder) -> None:
        for one in write.authorizations:
            self._cursor.execute(
                "INSERT INTO identifier_authorizations "
                "(id, account, identifier, expires, version, record) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                orderrows.from_authorization(one),
            )
        if write.order is not None:
            self._cursor.execute(
                "INSERT INTO orders "
                "(id, account, status, created, expires, version, record) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                orderrows.from_order(write.order),
            )

    def _update_order(self, write: UpdateOrder) -> None:
        row = orderrows.from_order(_next(write.order))
        self._change(
            write,
            "UPDATE orders SET status = ?3, expires = ?5, version = ?6, record = ?7 "
            "WHERE id = ?1 AND account = ?2 AND created = ?4 AND version = ?8",
            (*row, write.order.version),
        )

    def _update_authorization(self, write: UpdateIdentifierAuthorization) -> None:
        row = orderrows.from_authorization(_next(write.authorization))
        self._change(
            write,
            "UPDATE identifier_authorizations SET expires = ?4, version = ?5, "
            "record = ?6 WHERE id = ?1 AND account = ?2 AND identifier = ?3 "
            "AND version = ?7",
            (*row, write.authorization.version),
        )

    def _sweep(self, write: SweepOrders) -> None:
        values = (from_time(write.before), write.limit)
        self._cursor.execute(_SWEEP_ORDERS, values)
        self._cursor.execute(_SWEEP_AUTHORIZATIONS, values)

    def _change(self, write: Write, statement: str, values: Row) -> None:
        if self._cursor.execute(statement, values).rowcount != 1:
            raise WriteConflict(write)


def _next(record: T) -> T:
    """The record as it stands after the write."""
    return replace(record, version=record.version + 1)
