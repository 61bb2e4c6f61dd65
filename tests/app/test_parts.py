"""Passphrase, snapshot, health, listening and first-run addresses, each by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.testing import MemoryReactorClock

from pkid.app.client import is_locked, run_now
from pkid.app.config import decode_configuration
from pkid.app.health import OperationsResponder
from pkid.app.identities import tls_names
from pkid.app.kinds import ConfigurationError
from pkid.app.listening import Address, Listeners, ListeningError
from pkid.app.passphrase import kept_passphrase, resolve_passphrase
from pkid.app.serving import find_doors
from pkid.app.snapshot import make_policies
from pkid.errors import PKIError
from pkid.responders.base import Exchange
from pkid.storage.directory import DirectoryLock
from pkid.transports.limits import Admission, Limits

VECTORS = Path(__file__).parents[1] / "vectors" / "cmp"


def test_a_passphrase_is_made_once_and_kept(tmp_path: Path) -> None:
    first = kept_passphrase(tmp_path / "keys")
    assert kept_passphrase(tmp_path / "keys").matches(first.reveal())
    assert len(first.reveal()) >= 32
    assert (tmp_path / "keys" / "passphrase").stat().st_mode & 0o777 == 0o600


def test_a_lost_passphrase_is_not_made_anew_over_old_keys(tmp_path: Path) -> None:
    kept_passphrase(tmp_path / "keys")
    (tmp_path / "keys" / "passphrase").unlink()
    (tmp_path / "keys" / "ca-root.key").touch(mode=0o600)
    with pytest.raises(PKIError, match="not there"):
        kept_passphrase(tmp_path / "keys")


def test_a_named_passphrase_wins_over_the_credential(tmp_path: Path) -> None:
    (tmp_path / "pkid-passphrase").write_text("credential\n")
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path), "WORD": "named"}
    named = resolve_passphrase("env:WORD", environment, base=tmp_path)
    found = resolve_passphrase("", environment, base=tmp_path)
    assert named is not None
    assert found is not None
    assert named.matches(b"named")
    assert found.matches(b"credential")
    assert resolve_passphrase("", {}, base=tmp_path) is None


def policies_of(text: str, base: Path) -> Any:
    return make_policies(decode_configuration(text, source="test"), base=base)


def test_vendor_anchors_are_read_as_pem_and_der(tmp_path: Path) -> None:
    from cryptography.x509 import load_pem_x509_certificate

    octets = (VECTORS / "ca.cer").read_bytes()
    if octets.startswith(b"-----"):
        octets = load_pem_x509_certificate(octets).public_bytes(Encoding.DER)
    (tmp_path / "a.der").write_bytes(octets)
    from cryptography.x509 import load_der_x509_certificate

    pem = load_der_x509_certificate(octets).public_bytes(Encoding.PEM)
    (tmp_path / "b.pem").write_bytes(pem + pem)
    policies = policies_of('[vendor.v]\nanchors = ["a.der", "b.pem"]\n', tmp_path)
    assert policies.vendors["v"].anchors == (octets,) * 3


def test_every_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("junk")
    (tmp_path / "digests").write_text("abcd\n")
    text = (
        '[vendor.v]\nanchors = ["junk", "gone"]\nintermediates = ["gone"]\n'
        '[keys]\nblocked = "digests"\n'
    )
    with pytest.raises(ConfigurationError) as error:
        policies_of(text, tmp_path)
    assert [fault.where for fault in error.value.faults] == [
        "vendor.v.anchors",
        "vendor.v.anchors",
        "vendor.v.intermediates",
        "keys.blocked",
    ]


def test_blocked_keys_are_digests(tmp_path: Path) -> None:
    (tmp_path / "digests").write_text(f"{'ab' * 32}\n{'CD' * 32}\n")
    policies = policies_of('[keys]\nblocked = "digests"\n', tmp_path)
    assert policies.blocked_keys == {b"\xab" * 32, b"\xcd" * 32}


@pytest.mark.parametrize("well", [True, False])
def test_ready_means_that_every_part_works(well: bool) -> None:
    responder = OperationsResponder(lambda: {"a": True, "b": well})

    def ask(operation: str) -> Any:
        exchange = Exchange(
            transport="http", alias="", body=b"", operation=operation, method="GET"
        )
        return run_now(responder.respond(exchange))

    assert ask("livez").status == 200
    ready = ask("readyz")
    assert ready.status == (200 if well else 503)
    assert json.loads(ready.body)["parts"] == {"a": True, "b": well}


def listeners_on(reactor: MemoryReactorClock) -> Listeners:
    return Listeners(reactor, Admission(reactor, Limits(), has_room=lambda _: True))


def built_in() -> Any:
    return decode_configuration("", source="test")


class RestingReactor(MemoryReactorClock):
    """Gives ports that can rest, and may refuse one of them."""

    def __init__(self, refused: int = 0) -> None:
        super().__init__()
        self.refused = refused
        self.ports: list[Any] = []

    def listenTCP(self, port: int, *args: Any, **kwargs: Any) -> Any:
        from twisted.internet.error import CannotListenError

        if port == self.refused:
            raise CannotListenError(None, port, OSError(98, "in use"))
        found = super().listenTCP(port, *args, **kwargs)
        found.resting = None
        found.pauseProducing = lambda: setattr(found, "resting", True)
        found.resumeProducing = lambda: setattr(found, "resting", False)
        found.stopListening = lambda: setattr(found, "resting", "stopped")
        self.ports.append(found)
        return found


def test_bound_ports_rest_until_they_are_opened() -> None:
    reactor = RestingReactor()
    listeners = listeners_on(reactor)
    listeners.bind(built_in().listeners.values())
    assert [port.resting for port in reactor.ports] == [True] * 4
    listeners.open()
    assert [port.resting for port in reactor.ports] == [False] * 4
    listeners.close()
    assert [port.resting for port in reactor.ports] == ["stopped"] * 4


def test_a_port_that_is_taken_closes_those_before_it() -> None:
    reactor = RestingReactor(refused=8443)
    with pytest.raises(ListeningError, match="listener https cannot be opened"):
        listeners_on(reactor).bind(built_in().listeners.values())
    assert [port.resting for port in reactor.ports] == ["stopped"] * 2


def test_a_port_without_anybody_behind_it_turns_clients_away() -> None:
    reactor = RestingReactor()
    listeners_on(reactor).bind(built_in().listeners.values())
    factory = reactor.tcpServers[0][1]
    assert factory.buildProtocol(None) is None


@pytest.mark.parametrize(
    ("host", "public", "place"),
    [
        ("127.0.0.1", "ca.example", "127.0.0.1:80"),
        ("0.0.0.0", "ca.example", "ca.example:80"),
        ("::", "ca.example", "ca.example:80"),
        ("::1", "ca.example", "[::1]:80"),
    ],
)
def test_an_address_is_one_that_clients_can_use(
    host: str, public: str, place: str
) -> None:
    assert Address(host, 80).reachable(public) == place


def test_doors_are_those_of_the_alias_plain_ones_first() -> None:
    settings = built_in().listeners
    ports = {"cmp-tcp": 1, "http": 2, "https": 3, "est": 4}
    addresses = {name: Address("127.0.0.1", port) for name, port in ports.items()}
    doors = find_doors(
        settings, addresses, alias="default", public_url="http://127.0.0.1:8080"
    )
    assert doors.cmp_url == "http://127.0.0.1:2/.well-known/cmp/p/default"
    assert doors.cmp_tcp == "127.0.0.1:1"
    assert doors.est_url == "https://127.0.0.1:4/.well-known/est"
    del settings["http"], addresses["http"]
    doors = find_doors(settings, addresses, alias="other", public_url="http://h")
    assert doors.cmp_url == "https://127.0.0.1:3/.well-known/cmp/p/other"
    assert doors.cmp_tcp == ""


def test_the_tls_names_begin_with_the_public_one() -> None:
    assert tls_names("http://ca.example:8080")[0] == "ca.example"
    assert tls_names("http://127.0.0.1:8080") == ("localhost", "127.0.0.1", "::1")


def test_a_held_lock_is_seen_without_trying_it(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    lock = DirectoryLock(tmp_path)
    assert is_locked(tmp_path)
    lock.release()
    assert not is_locked(tmp_path)
