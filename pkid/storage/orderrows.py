"""Accounts, orders and authorizations as rows: what they are found by, and all as JSON.

**Source:** DESIGN section 6.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from pkid.engine.orders import Account, Identifier, IdentifierAuthorization, Order
from pkid.storage.rows import Row, from_time

T = TypeVar("T", Account, Order, IdentifierAuthorization)


def from_account(record: Account) -> Row:
    """Row of ``accounts``, in the order of its columns."""
    return (
        record.id,
        record.alias,
        record.thumbprint,
        record.spki_hash,
        record.version,
        msgspec.json.encode(record),
    )


def from_order(record: Order) -> Row:
    """Row of ``orders``, in the order of its columns."""
    return (
        record.id,
        record.account,
        record.status.value,
        from_time(record.created),
        from_time(record.expires),
        record.version,
        msgspec.json.encode(record),
    )


def from_authorization(record: IdentifierAuthorization) -> Row:
    """Row of ``identifier_authorizations``, in the order of its columns."""
    return (
        record.id,
        record.account,
        identifier_text(record.identifier),
        from_time(record.expires),
        record.version,
        msgspec.json.encode(record),
    )


def identifier_text(identifier: Identifier) -> str:
    """What an authorization is found by."""
    return f"{identifier.kind}:{identifier.value}"


def to_record(octets: bytes, kind: type[T]) -> T:
    """The record of a row's JSON."""
    return msgspec.json.decode(octets, type=kind)
