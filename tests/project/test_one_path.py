"""There is one way to a signed certificate, and the code shows it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.project.sources import Source, sources

# Primitives stand here: keys holds the private keys, crypto computes on them.
BELOW_THE_PORT = {"keys", "crypto"}


def calls_of(method: str) -> Iterator[tuple[Source, ast.Call]]:
    """Find calls of a method of this name, or of a class of this name."""
    for source in sources():
        for node in source.walk():
            if not isinstance(node, ast.Call):
                continue
            if ast.unparse(node.func).rpartition(".")[2] == method:
                yield source, node


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("sign", "pkid/engine/enrollment.py"),
        ("PreparedCertificate", "pkid/engine/issuance.py"),
    ],
)
def test_only_one_module_calls(name: str, allowed: str) -> None:
    strays = [
        source.at(node)
        for source, node in calls_of(name)
        if source.path != allowed and source.room not in BELOW_THE_PORT
    ]
    assert strays == []


def test_no_door_opens_a_signer_of_certificates() -> None:
    strays = [
        source.at(node)
        for source, node in calls_of("certificate_signer")
        if source.room in {"responders", "transports", "messages", "storage"}
    ]
    assert strays == []


def test_private_keys_are_loaded_by_keys_and_for_tls_alone() -> None:
    words = ("load_pem_private_key", "load_der_private_key", "private_bytes")
    strays = [
        source.at(node)
        for word in words
        for source, node in calls_of(word)
        if source.room not in {"keys", "app"}
        and source.path != "pkid/transports/tls.py"
    ]
    assert strays == []
