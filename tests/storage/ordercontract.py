"""What every store must do with accounts, orders and authorizations."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pkid.engine.model import CertificateReference
from pkid.engine.orders import (
    Account,
    AccountStatus,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
    Identifier,
    IdentifierAuthorization,
    Order,
    OrderStatus,
)
from pkid.engine.ports import Store
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
from tests.storage.contract import Resolve

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
HOST = Identifier("dns", "host.pkid.test")


def account(name: str = "a1", **changes: Any) -> Account:
    values: dict[str, Any] = {
        "id": name,
        "alias": "default",
        "thumbprint": f"thumb-{name}",
        "key": '{"kty":"EC"}',
        "spki_hash": name.encode().ljust(32, b"."),
        "created": NOW,
        "contacts": ("mailto:a@pkid.test",),
        "binding": "kid-1",
    }
    return Account(**(values | changes))


def authorization(name: str = "z1", **changes: Any) -> IdentifierAuthorization:
    values: dict[str, Any] = {
        "id": name,
        "account": "a1",
        "identifier": HOST,
        "wildcard": False,
        "expires": NOW + timedelta(days=7),
        "challenges": (
            Challenge(kind="http-01", token="t1"),
            Challenge(
                kind="dns-01",
                token="t2",
                status=ChallengeStatus.VALID,
                validated=NOW,
                thumbprint="th",
            ),
        ),
    }
    return IdentifierAuthorization(**(values | changes))


def order(name: str = "o1", **changes: Any) -> Order:
    values: dict[str, Any] = {
        "id": name,
        "account": "a1",
        "alias": "default",
        "identifiers": (HOST, Identifier("ip", "192.0.2.1")),
        "authorizations": ("z1",),
        "created": NOW,
        "expires": NOW + timedelta(days=7),
        "replaces": CertificateReference("issuing", 1 << 130),
    }
    return Order(**(values | changes))


def refused(resolve: Resolve, store: Store, *writes: Write) -> None:
    with pytest.raises(WriteConflict):
        resolve(store.commit(*writes))


class OrderContract:
    """Mixed into the contract of each store."""

    def test_an_account_comes_back_by_id_and_by_key(
        self, store: Store, resolve: Resolve
    ) -> None:
        one = account()
        resolve(store.commit(InsertAccount(one)))
        assert resolve(store.find_account("a1")) == one
        assert resolve(store.find_account_by_key("default", one.thumbprint)) == one
        assert resolve(store.find_account_by_key("other", one.thumbprint)) is None
        assert resolve(store.is_account_key(one.spki_hash))
        assert not resolve(store.is_account_key(b"?" * 32))
        assert resolve(store.find_account("a2")) is None

    def test_one_key_is_one_account_at_an_entrance(
        self, store: Store, resolve: Resolve
    ) -> None:
        one = account()
        resolve(store.commit(InsertAccount(one), InsertAccount(account("a2"))))
        same = account("a3", thumbprint=one.thumbprint)
        refused(resolve, store, InsertAccount(same))
        refused(
            resolve,
            store,
            UpdateAccount(replace(account("a2"), thumbprint=one.thumbprint)),
        )
        resolve(store.commit(InsertAccount(replace(same, alias="other"))))
        listed = resolve(store.list_accounts())
        assert [found.id for found in listed] == ["a1", "a2", "a3"]
        assert [found.id for found in resolve(store.list_accounts("a1", 1))] == ["a2"]

    def test_an_account_changes_from_the_version_that_was_read(
        self, store: Store, resolve: Resolve
    ) -> None:
        one = account()
        resolve(store.commit(InsertAccount(one)))
        gone = replace(one, status=AccountStatus.DEACTIVATED)
        resolve(store.commit(UpdateAccount(gone)))
        assert resolve(store.find_account("a1")) == replace(gone, version=2)
        refused(resolve, store, UpdateAccount(one))

    def test_an_order_and_its_authorizations_come_back(
        self, store: Store, resolve: Resolve
    ) -> None:
        resolve(store.commit(InsertOrder(order(), (authorization(),))))
        assert resolve(store.find_order("o1")) == order()
        found = resolve(store.find_identifier_authorization("z1"))
        assert found == authorization()
        refused(resolve, store, InsertOrder(order()))
        assert resolve(store.find_order("o2")) is None
        assert resolve(store.find_identifier_authorization("z2")) is None

    def test_authorizations_are_found_by_account_and_identifier(
        self, store: Store, resolve: Resolve
    ) -> None:
        late = authorization("z2", expires=NOW + timedelta(days=9))
        other = authorization("z3", identifier=Identifier("ip", "192.0.2.1"))
        mine = (authorization(), late, other)
        resolve(store.commit(InsertOrder(None, mine)))
        found = resolve(store.authorizations_of("a1", HOST, NOW))
        assert [one.id for one in found] == ["z2", "z1"]
        later = NOW + timedelta(days=8)
        found = resolve(store.authorizations_of("a1", HOST, later))
        assert [one.id for one in found] == ["z2"]
        assert resolve(store.authorizations_of("a2", HOST, NOW)) == []

    def test_orders_and_authorizations_change_by_version(
        self, store: Store, resolve: Resolve
    ) -> None:
        first, proof = order(), authorization()
        resolve(store.commit(InsertOrder(first, (proof,))))
        valid = replace(proof, status=AuthorizationStatus.VALID, how="http-01")
        waits = replace(first, status=OrderStatus.PROCESSING, request_hash=b"h" * 32)
        resolve(store.commit(UpdateIdentifierAuthorization(valid), UpdateOrder(waits)))
        assert resolve(store.find_order("o1")) == replace(waits, version=2)
        assert resolve(store.processing_orders(9)) == [replace(waits, version=2)]
        refused(resolve, store, UpdateOrder(first))
        refused(resolve, store, UpdateIdentifierAuthorization(proof))
        done = replace(waits, version=2, status=OrderStatus.VALID)
        resolve(store.commit(UpdateOrder(done)))
        assert resolve(store.processing_orders(9)) == []

    def test_orders_of_an_account_are_listed_in_pages(
        self, store: Store, resolve: Resolve
    ) -> None:
        orders = [
            order(f"o{number}", created=NOW + timedelta(seconds=number // 2))
            for number in range(5)
        ]
        resolve(store.commit(*(InsertOrder(one) for one in orders)))
        listed: list[str] = []
        after = None
        while page := resolve(store.list_orders("a1", after, 2)):
            listed += [one.id for one in page]
            after = (page[-1].created, page[-1].id)
        assert listed == [one.id for one in orders]
        assert resolve(store.list_orders("a2", None, 2)) == []

    def test_what_has_expired_is_swept_in_slices(
        self, store: Store, resolve: Resolve
    ) -> None:
        for number in range(3):
            proof = authorization(f"z{number}")
            resolve(store.commit(InsertOrder(order(f"o{number}"), (proof,))))
        before = NOW + timedelta(days=8)
        resolve(store.commit(SweepOrders(NOW, 9)))
        assert len(resolve(store.list_orders("a1", None, 9))) == 3
        resolve(store.commit(SweepOrders(before, 2)))
        assert len(resolve(store.list_orders("a1", None, 9))) == 1
        resolve(store.commit(SweepOrders(before, 2)))
        assert resolve(store.authorizations_of("a1", HOST, NOW)) == []
