"""ACME on a whole engine: who may do what, and what is said to the others."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.defer import Deferred

from pkid.engine.validation import ControlError
from pkid.errors import ErrorCode
from pkid.messages.jose import encode_base64url
from pkid.responders.acme.failures import PROBLEMS
from tests.engine.world import CMP, result_of
from tests.responders.acmedesk import (
    BASE,
    HOST,
    ACMEDesk,
    Client,
    binding,
    document,
    es256,
    header,
    jwk_of,
    jws_object,
    make_csr,
    path_of,
    problem,
)


@pytest.fixture
def client(acme: ACMEDesk) -> Client:
    made = acme.client()
    assert made.register().status == 201
    return made


@pytest.fixture
def other(acme: ACMEDesk) -> Client:
    made = acme.client()
    made.register()
    return made


def test_every_refusal_has_a_problem() -> None:
    assert set(PROBLEMS) == set(ErrorCode)


# --- requests ---------------------------------------------------------------------


@pytest.mark.requirement("ACME-25", "ACME-26")
def test_the_directory_is_for_anybody(acme: ACMEDesk) -> None:
    reply = acme.send("directory", method="GET")
    found = document(reply)
    assert found["newNonce"] == f"{BASE}/new-nonce"
    assert found["meta"]["externalAccountRequired"] is False
    assert "newAuthz" not in found


@pytest.mark.requirement("ACME-14")
def test_nonces_come_by_HEAD_and_GET_and_with_every_answer(
    acme: ACMEDesk, client: Client
) -> None:
    head = acme.send("new-nonce", method="GET", head=True)
    get = acme.send("new-nonce", method="GET")
    assert (head.status, get.status) == (200, 204)
    for reply in (head, get, client.ask("account/nobody"), client.register()):
        assert header(reply, "replay-nonce")
        assert header(reply, "cache-control") == "no-store"
        assert f'<{BASE}/directory>;rel="index"' in dict(reply.headers)["Link"]


@pytest.mark.requirement("ACME-13", "ACME-15")
def test_a_nonce_is_good_once_and_not_for_ever(acme: ACMEDesk, client: Client) -> None:
    body = client.signed(path_of(client.url))
    assert acme.send(path_of(client.url), body).status == 200
    assert problem(acme.send(path_of(client.url), body)) == "badNonce 400"
    old = client.signed(path_of(client.url))
    acme.world.clock.advance(timedelta(hours=2))
    assert problem(acme.send(path_of(client.url), old)) == "badNonce 400"
    late = client.signed(path_of(client.url))
    acme.restart()
    refused = acme.send(path_of(client.url), late)
    assert problem(refused) == "badNonce 400"
    fresh = client.signed(path_of(client.url), nonce=header(refused, "replay-nonce"))
    assert acme.send(path_of(client.url), fresh).status == 200


@pytest.mark.requirement("ACME-13")
@pytest.mark.parametrize(
    ("nonce", "said"),
    [
        ("", "badNonce 400"),
        ("AAAA", "badNonce 400"),
        ("A" * 48, "badNonce 400"),
        ("=", "malformed 400"),
        ("a+b/", "malformed 400"),
    ],
)
def test_other_nonces_are_refused(client: Client, nonce: str, said: str) -> None:
    assert problem(client.ask(path_of(client.url), nonce=nonce)) == said


@pytest.mark.requirement("ACME-08")
@pytest.mark.parametrize(
    "url",
    [
        f"{BASE}/new-order",
        f"https://{HOST}/acme/other/account/x",
        "https://pkid.test/acme/default/new-account",
        f"{BASE}/new-account/",
        f"http://{HOST}/acme/default/new-account",
    ],
)
def test_a_request_for_another_url_is_unauthorized(acme: ACMEDesk, url: str) -> None:
    reply = acme.client().ask("new-account", {}, url=url)
    assert problem(reply) == "unauthorized 401"


@pytest.mark.requirement("ACME-08")
def test_no_url_is_made_of_a_name_that_the_client_invents(acme: ACMEDesk) -> None:
    headers = {"content-type": "application/jose+json", "host": "evil.example"}
    reply = acme.send("directory", method="GET", headers=headers)
    assert problem(reply) == "malformed 400"
    assert b"evil" not in reply.body
    assert not [name for name, _ in reply.headers if name == "Link"]


@pytest.mark.requirement("ACME-09")
@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        ("application/jose+json; charset=utf-8", 201),
        ("APPLICATION/JOSE+JSON", 201),
        ("application/json", 415),
        ("", 415),
    ],
)
def test_only_one_media_type_is_read(
    acme: ACMEDesk, media_type: str, status: int
) -> None:
    body = acme.client().signed("new-account", {})
    headers = {"content-type": media_type, "host": HOST}
    assert acme.send("new-account", body, headers=headers).status == status


@pytest.mark.requirement("ACME-05")
def test_a_bare_key_makes_accounts_and_revokes_and_nothing_else(
    acme: ACMEDesk, client: Client
) -> None:
    for path in ("new-order", path_of(client.url), "key-change", "order/x"):
        client_key = acme.client()
        client_key.key = client.key
        assert problem(client_key.ask(path, {})) == "malformed 400"
    assert problem(client.ask("new-account", {})) == "malformed 400"


@pytest.mark.requirement("ACME-05")
def test_an_account_that_is_not_there_does_not_exist(
    acme: ACMEDesk, client: Client
) -> None:
    for url in (f"{BASE}/account/nobody", client.url + "x", "kid", client.url + "/"):
        stranger = acme.client()
        stranger.url = url
        reply = stranger.ask("new-order", {})
        assert problem(reply) == "accountDoesNotExist 400"


@pytest.mark.requirement("ACME-06")
@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES384", "RS256", "x" * 99])
def test_an_algorithm_that_is_not_taken_is_told_which_are(
    client: Client, algorithm: str
) -> None:
    reply = client.ask(path_of(client.url), alg=algorithm)
    assert problem(reply) == "badSignatureAlgorithm 400"
    assert "ES256" in document(reply)["algorithms"]


def test_a_signature_of_another_key_is_refused(acme: ACMEDesk, client: Client) -> None:
    thief = acme.client()
    thief.url = client.url
    assert problem(thief.ask(path_of(client.url))) == "malformed 400"


@pytest.mark.requirement("ACME-11")
def test_resources_are_read_by_signed_requests_alone(
    acme: ACMEDesk, client: Client
) -> None:
    _, order = client.order("a.pkid.test")
    for url in (client.url, order["finalize"], order["authorizations"][0]):
        reply = acme.send(path_of(url), method="GET")
        assert problem(reply) == "malformed 405"
        assert header(reply, "allow") == "POST"
    assert client.ask("directory").status == 200
    assert problem(client.ask("directory", {})) == "malformed 400"


@pytest.mark.requirement("ACME-12", "ACME-62")
def test_what_is_anothers_is_not_there(client: Client, other: Client) -> None:
    path, order = client.order("a.pkid.test")
    paths = [path, path_of(order["finalize"]), path_of(order["authorizations"][0])]
    found = document(client.ask(paths[2]))
    paths += [path_of(one["url"]) for one in found["challenges"]]
    paths += [path_of(client.url), f"certificate/{path.partition('/')[2]}"]
    for one in paths:
        kind, _, name = one.partition("/")
        theirs = other.ask(one, {} if kind == "finalize" else None)
        unknown = other.ask(f"{kind}/x{name[1:]}", {} if kind == "finalize" else None)
        assert problem(theirs) == problem(unknown) == "malformed 404", one
        assert document(theirs) == document(unknown)


# --- accounts ---------------------------------------------------------------------


@pytest.mark.requirement("ACME-28", "ACME-39")
def test_a_key_has_one_account(acme: ACMEDesk, client: Client) -> None:
    again = acme.client()
    again.key = client.key
    reply = again.register(contact=["mailto:x@pkid.test"])
    assert (reply.status, again.url) == (200, client.url)
    assert document(reply)["contact"] == []
    stranger = acme.client()
    reply = stranger.register(onlyReturnExisting=True)
    assert problem(reply) == "accountDoesNotExist 400"
    assert len(result_of(acme.world.engine.accounts.list())) == 1


@pytest.mark.requirement("ACME-29", "ACME-32")
def test_an_account_changes_its_contacts_and_nothing_else(client: Client) -> None:
    reply = client.ask(
        path_of(client.url), {"contact": ["mailto:a@pkid.test"], "orders": "x", "y": 1}
    )
    found = document(reply)
    assert found["contact"] == ["mailto:a@pkid.test"]
    assert found["orders"] == f"{BASE}/orders/{client.url.rpartition('/')[2]}"
    assert document(client.ask(path_of(client.url))) == found


@pytest.mark.requirement("ACME-31")
@pytest.mark.parametrize(
    ("contact", "said"),
    [
        (["tel:+1"], "unsupportedContact 400"),
        (["a@pkid.test"], "unsupportedContact 400"),
        (["mailto:a@b,c@d"], "invalidContact 400"),
        (["mailto:a@b?subject=x"], "invalidContact 400"),
        (["mailto:"], "invalidContact 400"),
        ("mailto:a@b", "malformed 400"),
        ([1], "malformed 400"),
        (["mailto:a@b"] * 11, "malformed 400"),
    ],
)
def test_contacts_are_single_addresses(
    acme: ACMEDesk, contact: object, said: str
) -> None:
    assert problem(acme.client().register(contact=contact)) == said


@pytest.mark.requirement("ACME-30")
def test_terms_must_be_agreed_to(acme: ACMEDesk) -> None:
    acme.settings["terms_of_service"] = "https://pkid.test/terms"
    refused = acme.client().register()
    assert problem(refused) == "userActionRequired 403"
    assert document(refused)["instance"] == "https://pkid.test/terms"
    assert acme.client().register(termsOfServiceAgreed=True).status == 201


@pytest.mark.requirement("ACME-38")
def test_a_deactivated_account_is_gone_for_good(acme: ACMEDesk, client: Client) -> None:
    reply = client.ask(path_of(client.url), {"status": "deactivated"})
    assert document(reply)["status"] == "deactivated"
    assert problem(client.ask(path_of(client.url))) == "unauthorized 401"
    assert problem(client.ask("new-order", {})) == "unauthorized 401"
    again = acme.client()
    again.key = client.key
    assert problem(again.register()) == "unauthorized 401"


def change_key(
    client: Client, new: ec.EllipticCurvePrivateKey, **changes: object
) -> object:
    payload = {"account": client.url, "oldKey": client.jwk, **changes}
    members = {"alg": "ES256", "jwk": jwk_of(new), "url": f"{BASE}/key-change"}
    inner = jws_object(members, payload, lambda octets: es256(new, octets))
    return client.ask("key-change", inner)


@pytest.mark.requirement("ACME-37")
def test_an_account_changes_its_key(
    acme: ACMEDesk, client: Client, other: Client
) -> None:
    old, new = client.key, ec.generate_private_key(ec.SECP256R1())
    for wrong in ({"account": other.url}, {"oldKey": other.jwk}, {"oldKey": {}}):
        assert problem(change_key(client, new, **wrong)).endswith(" 400")  # type: ignore[arg-type]
    taken = change_key(client, other.key)
    assert problem(taken) == "malformed 409"  # type: ignore[arg-type]
    assert header(taken, "location") == other.url  # type: ignore[arg-type]
    assert change_key(client, new).status == 200  # type: ignore[attr-defined]
    assert problem(client.ask(path_of(client.url))) == "malformed 400"
    client.key = new
    assert client.ask(path_of(client.url)).status == 200
    fresh = acme.client()
    fresh.key = old
    assert fresh.register().status == 201


@pytest.mark.requirement("ACME-34", "ACME-35")
def test_an_external_key_vouches_for_an_account(acme: ACMEDesk) -> None:
    acme.settings["external_account"] = "required"
    acme.external_key(uses=1)
    client = acme.client()
    assert problem(client.register()) == "externalAccountRequired 403"
    proof = binding(client)
    reply = client.register(externalAccountBinding=proof)
    assert reply.status == 201
    assert document(reply)["externalAccountBinding"] == proof
    late = acme.client()
    refused = late.register(externalAccountBinding=binding(late))
    assert problem(refused) == "unauthorized 403"


@pytest.mark.requirement("ACME-34")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"key": b"another"}, "unauthorized 403"),
        ({"kid": "nobody"}, "unauthorized 403"),
        ({"alg": "ES256"}, "malformed 400"),
        ({"alg": "none"}, "malformed 400"),
        ({"url": f"{BASE}/new-order"}, "malformed 400"),
        ({"nonce": "AAAA"}, "malformed 400"),
        ({"kid": None}, "malformed 400"),
    ],
)
def test_a_binding_that_does_not_hold_makes_no_account(
    acme: ACMEDesk, changes: dict[str, object], said: str
) -> None:
    acme.settings["external_account"] = "optional"
    acme.external_key()
    client = acme.client()
    proof = binding(client, **changes)  # type: ignore[arg-type]
    assert problem(client.register(externalAccountBinding=proof)) == said
    assert result_of(acme.world.engine.accounts.list()) == []


@pytest.mark.requirement("ACME-34")
def test_a_binding_is_for_the_key_that_asks(acme: ACMEDesk) -> None:
    acme.settings["external_account"] = "required"
    acme.external_key()
    stolen = binding(acme.client())
    thief = acme.client()
    assert problem(thief.register(externalAccountBinding=stolen)) == "malformed 400"


# --- orders -----------------------------------------------------------------------


@pytest.mark.requirement("ACME-41", "ACME-46", "ACME-51")
def test_an_order_goes_its_way(acme: ACMEDesk, client: Client) -> None:
    path, order = client.order("b.pkid.test", "A.pkid.test", "b.pkid.test")
    assert order["status"] == "pending"
    names = [one["value"] for one in order["identifiers"]]
    assert names == ["b.pkid.test", "a.pkid.test"]
    assert len(order["authorizations"]) == 2
    client.meet(order)
    assert document(client.ask(path))["status"] == "ready"
    question = acme.outside.asked[0]
    assert question.key_authorization == f"{question.token}.{client.thumbprint}"
    reply = client.finalize(order, make_csr("a.pkid.test", "b.pkid.test"))
    done = document(reply)
    assert (reply.status, done["status"]) == (200, "valid")
    pem = client.ask(path_of(done["certificate"]))
    assert pem.content_type == "application/pem-certificate-chain"
    leaf, issuer = x509.load_pem_x509_certificates(pem.body)
    leaf.verify_directly_issued_by(issuer)
    record = result_of(acme.world.engine.explain(f"{leaf.serial_number:x}"))
    assert not record or record[0].event.alias == "default"


@pytest.mark.requirement("ACME-49")
def test_finalizing_again_gives_the_same_certificate(
    acme: ACMEDesk, client: Client
) -> None:
    path, order = client.order("a.pkid.test")
    client.meet(order)
    csr = make_csr("a.pkid.test")
    first = document(client.finalize(order, csr))
    acme.restart()
    assert document(client.finalize(order, csr)) == first
    other = client.finalize(order, make_csr("a.pkid.test"))
    assert problem(other) == "orderNotReady 403"
    assert document(client.ask(path)) == first


@pytest.mark.requirement("ACME-56")
def test_an_order_is_not_finalized_before_it_is_ready(client: Client) -> None:
    path, order = client.order("a.pkid.test")
    reply = client.finalize(order, make_csr("a.pkid.test"))
    assert problem(reply) == "orderNotReady 403"
    client.meet(order)
    bad = client.finalize(order, b"no request")
    assert problem(bad) == "badCSR 400"
    assert document(client.ask(path))["status"] == "ready"


@pytest.mark.requirement("ACME-57")
@pytest.mark.parametrize(
    "csr",
    [
        make_csr("a.pkid.test"),
        make_csr("a.pkid.test", "b.pkid.test", "c.pkid.test"),
        make_csr("a.pkid.test", "c.pkid.test"),
        make_csr(),
        make_csr("a.pkid.test", "b.pkid.test", common_name="c.pkid.test"),
        make_csr("a.pkid.test", "b.pkid.test") + b"x",
    ],
    ids=["fewer", "more", "other", "none", "common name", "trailing"],
)
def test_a_csr_asks_for_exactly_what_was_ordered(client: Client, csr: bytes) -> None:
    _, order = client.order("a.pkid.test", "b.pkid.test")
    client.meet(order)
    assert problem(client.finalize(order, csr)) == "badCSR 400"


@pytest.mark.requirement("ACME-57", "ACME-58")
def test_a_name_may_stand_in_the_common_name_alone(client: Client) -> None:
    _, order = client.order("a.pkid.test")
    client.meet(order)
    done = document(client.finalize(order, make_csr(common_name="a.pkid.test")))
    pem = client.ask(path_of(done["certificate"])).body
    leaf = x509.load_pem_x509_certificates(pem)[0]
    assert leaf.subject.rfc4514_string() == "CN=a.pkid.test"
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.pkid.test"]


@pytest.mark.requirement("ACME-39", "ACME-57")
def test_the_key_of_an_account_is_not_certified(client: Client, other: Client) -> None:
    for key in (client.key, other.key):
        _, order = client.order("a.pkid.test")
        client.meet(order)
        reply = client.finalize(order, make_csr("a.pkid.test", key=key))
        assert problem(reply) == "badCSR 400"


@pytest.mark.requirement("ACME-42", "ACME-43", "ACME-77")
@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("dns", "192.0.2.1", "rejectedIdentifier 400"),
        ("dns", "a.pkid.test.", "rejectedIdentifier 400"),
        ("dns", "printer", "rejectedIdentifier 400"),
        ("dns", "-a.pkid.test", "rejectedIdentifier 400"),
        ("dns", "a_b.pkid.test", "rejectedIdentifier 400"),
        ("dns", "a.pkid.test:443", "rejectedIdentifier 400"),
        ("dns", "*.*.pkid.test", "rejectedIdentifier 400"),
        ("dns", "a.*.pkid.test", "rejectedIdentifier 400"),
        ("dns", "*", "rejectedIdentifier 400"),
        ("dns", "xn--a.pkid.test", "rejectedIdentifier 400"),
        ("dns", "bücher.pkid.test", "rejectedIdentifier 400"),
        ("dns", "a" * 64 + ".pkid.test", "rejectedIdentifier 400"),
        ("dns", "", "rejectedIdentifier 400"),
        ("ip", "192.0.2.01", "malformed 400"),
        ("ip", "2001:DB8:0::1", "malformed 400"),
        ("ip", "a.pkid.test", "malformed 400"),
        ("email", "a@pkid.test", "unsupportedIdentifier 400"),
    ],
)
def test_identifiers_have_one_form(
    client: Client, kind: str, value: str, said: str
) -> None:
    reply = client.ask("new-order", {"identifiers": [{"type": kind, "value": value}]})
    assert problem(reply) == said


@pytest.mark.requirement("ACME-17", "ACME-43")
def test_each_name_that_is_refused_is_named(client: Client) -> None:
    identifiers = [
        {"type": "dns", "value": value}
        for value in ("good.pkid.test", "bad_name.pkid.test", "worse..pkid.test")
    ]
    reply = client.ask("new-order", {"identifiers": identifiers})
    faults = document(reply)["subproblems"]
    assert [one["identifier"]["value"] for one in faults] == [
        "bad_name.pkid.test",
        "worse..pkid.test",
    ]


@pytest.mark.requirement("ACME-44")
def test_a_wildcard_is_proven_by_dns_alone(client: Client) -> None:
    _, order = client.order("*.pkid.test")
    found = document(client.ask(path_of(order["authorizations"][0])))
    assert found["identifier"] == {"type": "dns", "value": "pkid.test"}
    assert found["wildcard"] is True
    assert [one["type"] for one in found["challenges"]] == ["dns-01"]


@pytest.mark.requirement("ACME-77")
def test_an_address_is_not_proven_by_dns(client: Client) -> None:
    reply = client.ask(
        "new-order", {"identifiers": [{"type": "ip", "value": "192.0.2.1"}]}
    )
    (url,) = document(reply)["authorizations"]
    found = document(client.ask(path_of(url)))
    assert {one["type"] for one in found["challenges"]} == {"http-01", "tls-alpn-01"}


@pytest.mark.requirement("ACME-48")
def test_what_was_proven_counts_again_for_a_while(
    acme: ACMEDesk, client: Client, other: Client
) -> None:
    client.obtain("a.pkid.test")
    assert client.order("a.pkid.test")[1]["status"] == "ready"
    assert client.order("*.a.pkid.test")[1]["status"] == "pending"
    assert other.order("a.pkid.test")[1]["status"] == "pending"
    acme.world.clock.advance(timedelta(days=31))
    assert client.order("a.pkid.test")[1]["status"] == "pending"
    acme.settings["authorization_lifetime"] = timedelta(0)
    client.obtain("b.pkid.test")
    assert client.order("b.pkid.test")[1]["status"] == "pending"


@pytest.mark.requirement("ACME-36")
def test_names_that_the_external_key_vouches_for_need_no_challenge(
    acme: ACMEDesk,
) -> None:
    acme.settings["external_account"] = "required"
    acme.external_key("dns:*.plant.test", "ip:192.0.2.*")
    client = acme.client()
    client.register(externalAccountBinding=binding(client))
    assert client.order("a.plant.test")[1]["status"] == "ready"
    path, order = client.order("a.plant.test", "a.pkid.test")
    assert order["status"] == "pending"
    client.meet(order)
    assert [one.identifier.value for one in acme.outside.asked] == ["a.pkid.test"]
    assert document(client.ask(path))["status"] == "ready"
    assert client.order("plant.test")[1]["status"] == "pending"


@pytest.mark.requirement("ACME-33")
def test_orders_are_listed_in_pages(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pkid.responders.acme.accounts.PAGE", 2)
    made = []
    for letter in "abc":
        made.append(client.order(f"{letter}.pkid.test")[0])
        client.desk.world.clock.advance(timedelta(seconds=1))
    path = f"orders/{client.url.rpartition('/')[2]}"
    page = client.ask(path)
    assert document(page)["orders"] == [f"{BASE}/{one}" for one in made[:2]]
    following = next(value for _, value in page.headers if 'rel="next"' in value)
    url, query = following[1:].split(">")[0].split("?")
    last = client.desk.send(path, client.signed(path), query=query)
    assert url == f"{BASE}/{path}"
    assert document(last)["orders"] == [f"{BASE}/{made[2]}"]


def test_an_order_expires(acme: ACMEDesk, client: Client) -> None:
    path, order = client.order("a.pkid.test")
    acme.world.clock.advance(timedelta(days=8))
    found = document(client.ask(path))
    assert found["status"] == "invalid"
    assert "expired" in found["error"]["detail"]
    reply = client.finalize(order, make_csr("a.pkid.test"))
    assert problem(reply) == "orderNotReady 403"


@pytest.mark.requirement("ENG-23", "ACME-46")
def test_an_order_waits_for_approval_also_across_a_restart(
    acme: ACMEDesk, client: Client
) -> None:
    acme.engine_settings["approval"] = "operator"
    acme.publish()
    path, order = client.order("a.pkid.test")
    client.meet(order)
    csr = make_csr("a.pkid.test")
    reply = client.finalize(order, csr)
    assert document(reply)["status"] == "processing"
    assert header(reply, "retry-after")
    acme.restart()
    assert document(client.ask(path))["status"] == "processing"
    engine = acme.world.engine
    (waiting,) = result_of(acme.world.store.list_approvals())
    result_of(engine.administration.approve(waiting.id, "uid:1001", "", CMP))
    assert result_of(acme.responder.orders.settle()) == 1
    assert document(client.ask(path))["status"] == "valid"
    assert document(client.finalize(order, csr))["certificate"]


def test_a_rejected_order_is_invalid_and_says_why(
    acme: ACMEDesk, client: Client
) -> None:
    acme.engine_settings["approval"] = "operator"
    acme.publish()
    path, order = client.order("a.pkid.test")
    client.meet(order)
    client.finalize(order, make_csr("a.pkid.test"))
    (waiting,) = result_of(acme.world.store.list_approvals())
    administration = acme.world.engine.administration
    result_of(administration.reject(waiting.id, "uid:1001", "not ours", CMP))
    found = document(client.ask(path))
    assert found["status"] == "invalid"
    assert "not ours" in found["error"]["detail"]


# --- challenges -------------------------------------------------------------------


@pytest.mark.requirement("ACME-53", "ACME-54")
def test_what_was_seen_is_told_after_three_looks(
    acme: ACMEDesk, client: Client
) -> None:
    acme.outside.fault = ControlError("dns", "the name does not exist")
    path, order = client.order("a.pkid.test")
    client.meet(order)
    assert len(acme.outside.asked) == 3
    found = document(client.ask(path_of(order["authorizations"][0])))
    assert found["status"] == "invalid"
    (failed,) = [one for one in found["challenges"] if one["status"] == "invalid"]
    assert failed["error"] == {
        "type": "urn:ietf:params:acme:error:dns",
        "detail": "the name does not exist",
    }
    done = document(client.ask(path))
    assert done["status"] == "invalid"
    assert "the name does not exist" in done["error"]["detail"]


@pytest.mark.requirement("ACME-51", "ACME-52")
def test_a_slow_look_is_stored_as_processing_and_taken_up_after_a_restart(
    acme: ACMEDesk, client: Client
) -> None:
    acme.outside.waiting = Deferred()
    path, order = client.order("a.pkid.test")
    client.meet(order)
    url = order["authorizations"][0]
    states = {one["status"] for one in document(client.ask(path_of(url)))["challenges"]}
    assert "processing" in states
    client.meet(order)
    assert len(acme.outside.asked) == 1
    acme.restart()
    acme.outside.waiting = None
    client.ask(path_of(url))
    assert document(client.ask(path_of(url)))["status"] == "valid"
    assert document(client.ask(path))["status"] == "ready"


@pytest.mark.requirement("ACME-47")
def test_a_proof_can_be_given_up(client: Client) -> None:
    path, order = client.order("a.pkid.test")
    client.meet(order)
    proof = path_of(order["authorizations"][0])
    reply = client.ask(proof, {"status": "deactivated"})
    assert document(reply)["status"] == "deactivated"
    assert document(client.ask(path))["status"] == "invalid"
    assert problem(client.ask(proof, {"status": "deactivated"})) == "malformed 400"
    assert problem(client.ask(proof, {"status": "valid"})) == "malformed 400"
    assert client.order("a.pkid.test")[1]["status"] == "pending"


# --- certificates -----------------------------------------------------------------


def revoke(client: Client, octets: bytes, **payload: object) -> object:
    body = {"certificate": encode_base64url(octets), **payload}
    return client.ask("revoke-certificate", body)


@pytest.mark.requirement("ACME-63", "ACME-64", "ACME-65")
def test_who_ordered_a_certificate_revokes_it_once(
    client: Client, other: Client
) -> None:
    octets, _ = client.obtain("a.pkid.test")
    assert problem(revoke(other, octets)) == "unauthorized 403"  # type: ignore[arg-type]
    for reason in (2, 6, 7, 8, 9, 11, -1, "1", True):
        refused = revoke(client, octets, reason=reason)
        assert problem(refused) == "badRevocationReason 400"  # type: ignore[arg-type]
    assert revoke(client, octets, reason=4).status == 200  # type: ignore[attr-defined]
    again = revoke(client, octets)
    assert problem(again) == "alreadyRevoked 400"  # type: ignore[arg-type]
    spoilt = octets[:-1] + bytes((octets[-1] ^ 1,))
    assert problem(revoke(client, spoilt)) == "malformed 404"  # type: ignore[arg-type]
    assert problem(revoke(client, b"no")) == "malformed 400"  # type: ignore[arg-type]


@pytest.mark.requirement("ACME-63")
def test_the_key_of_a_certificate_revokes_it(acme: ACMEDesk, client: Client) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    path, order = client.order("a.pkid.test")
    client.meet(order)
    client.finalize(order, make_csr("a.pkid.test", key=key))
    done = document(client.ask(path))
    pem = client.ask(path_of(done["certificate"])).body
    leaf = x509.load_pem_x509_certificates(pem)[0]
    from cryptography.hazmat.primitives.serialization import Encoding

    octets = leaf.public_bytes(Encoding.DER)
    stranger = acme.client()
    assert problem(revoke(stranger, octets)) == "unauthorized 403"  # type: ignore[arg-type]
    stranger.key = key
    assert revoke(stranger, octets, reason=1).status == 200  # type: ignore[attr-defined]


@pytest.mark.requirement("ACME-60")
def test_a_certificate_comes_alone_to_who_asks_for_it_so(client: Client) -> None:
    octets, order = client.obtain("a.pkid.test")
    path = path_of(order["certificate"])
    headers = {
        "content-type": "application/jose+json",
        "host": HOST,
        "accept": "application/pkix-cert",
    }
    reply = client.desk.send(path, client.signed(path), headers=headers)
    assert reply.content_type == "application/pkix-cert"
    assert reply.body == octets


@pytest.mark.requirement("ACME-83", "ACME-84")
def test_renewal_information_is_for_anybody(acme: ACMEDesk, client: Client) -> None:
    octets, _ = client.obtain("a.pkid.test")
    leaf = x509.load_der_x509_certificate(octets)
    key_id = leaf.extensions.get_extension_for_class(
        x509.AuthorityKeyIdentifier
    ).value.key_identifier
    assert key_id is not None
    serial = leaf.serial_number.to_bytes(leaf.serial_number.bit_length() // 8 + 1)
    name = f"{encode_base64url(key_id)}.{encode_base64url(serial)}"
    reply = acme.send(f"renewal-info/{name}", method="GET")
    window = document(reply)["suggestedWindow"]
    assert header(reply, "retry-after") == "21600"
    begin = leaf.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    end = leaf.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert begin < window["start"] < window["end"] < end
    revoke(client, octets)
    gone = document(acme.send(f"renewal-info/{name}", method="GET"))
    now = acme.world.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    assert gone["suggestedWindow"]["end"] < now
    for wrong in ("x", "AA.AA", f"{name}A", "..", hashlib.sha256(b"").hexdigest()):
        refused = acme.send(f"renewal-info/{wrong}", method="GET")
        assert problem(refused).startswith("malformed 40")


@pytest.mark.requirement("ACME-87")
def test_a_profile_is_one_of_the_directory(acme: ACMEDesk, client: Client) -> None:
    acme.engine_settings["profiles"] = ("device",)
    acme.publish()
    found = document(acme.send("directory", method="GET"))
    assert set(found["meta"]["profiles"]) == {"tls", "device"}
    _, order = client.order("a.pkid.test", profile="device")
    assert order["profile"] == "device"
    identifiers = [{"type": "dns", "value": "a.pkid.test"}]
    reply = client.ask("new-order", {"identifiers": identifiers, "profile": "ca"})
    assert problem(reply) == "invalidProfile 400"
