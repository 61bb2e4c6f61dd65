"""TLS of listeners: our own certificate, or one of another PKI from files."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pkid.app.endpoints import decode_endpoint
from pkid.app.kinds import Faults
from pkid.app.settings import Configuration, Listener
from pkid.app.tlscontexts import TLSContexts
from pkid.app.wholeness import check_whole
from pkid.errors import ErrorCode, PKIError
from tests.transports.tlsclient import Made, make

OWN = make("own")
OTHER = make("other", make("web root"))


def listener(name: str, **fields: object) -> Listener:
    values: dict[str, object] = {"serves": ("est",), "tls": True, **fields}
    return Listener(name=name, endpoint=decode_endpoint("tcp:0"), **values)  # type: ignore[arg-type]


def store(folder: Path, made: Made) -> None:
    (folder / "web.pem").write_bytes(made.credentials.chain_pem)
    key = folder / "web.key"
    key.write_bytes(made.credentials.key_pem)
    key.chmod(0o600)


def served(contexts: TLSContexts, name: str) -> bytes:
    context = contexts.find(name)
    assert context is not None
    connection = context.serverConnectionForTLS(None)  # type: ignore[arg-type]
    found = connection.get_certificate(as_cryptography=True)
    assert found is not None
    return found.public_bytes(Encoding.DER)


FROM_FILES = listener("web", certificate="web.pem", key="file:web.key")


@pytest.mark.requirement("EST-15")
def test_a_listener_may_have_a_certificate_of_another_pki(tmp_path: Path) -> None:
    store(tmp_path, OTHER)
    contexts = TLSContexts(tmp_path, {})
    plain = listener("plain", serves=("status",), tls=False)
    listeners = {"est": listener("est"), "web": FROM_FILES, "plain": plain}
    contexts.adopt(listeners, OWN.credentials)
    assert served(contexts, "est") == OWN.der
    assert served(contexts, "web") == OTHER.der
    assert contexts.find("plain") is None
    renewed = make("other", make("web root"))
    store(tmp_path, renewed)
    contexts.adopt(listeners, OWN.credentials)
    assert served(contexts, "web") == renewed.der
    contexts.rotate()
    assert served(contexts, "web") == renewed.der


def test_files_that_cannot_be_used_change_nothing(tmp_path: Path) -> None:
    contexts = TLSContexts(tmp_path, {})
    with pytest.raises(PKIError, match=r"web\.pem") as caught:
        contexts.adopt({"web": FROM_FILES}, OWN.credentials)
    assert caught.value.code is ErrorCode.UNAVAILABLE
    store(tmp_path, OTHER)
    contexts.adopt({"web": FROM_FILES}, OWN.credentials)
    (tmp_path / "web.pem").write_bytes(OWN.credentials.chain_pem)
    with pytest.raises(PKIError, match="not the key of the TLS certificate"):
        contexts.adopt({"web": FROM_FILES}, OWN.credentials)
    assert served(contexts, "web") == OTHER.der
    (tmp_path / "web.key").chmod(0o644)
    with pytest.raises(PKIError):
        contexts.adopt({"web": FROM_FILES}, OWN.credentials)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"certificate": "web.pem"}, "belong together"),
        ({"key": "file:web.key"}, "belong together"),
        (
            {
                "certificate": "web.pem",
                "key": "file:web.key",
                "tls": False,
                "serves": ("status",),
            },
            "needs tls",
        ),
        ({"tls": False}, "TLS only"),
        ({"alias": "nobody"}, "nobody"),
    ],
)
@pytest.mark.requirement("SEC-34")
def test_what_does_not_fit_together_is_a_fault(
    fields: dict[str, object], what: str
) -> None:
    faults = Faults()
    found = listener("est", **fields)
    check_whole(Configuration(source="x", listeners={"est": found}), faults)
    assert any(what in str(fault) for fault in faults.found)
