"""The key store: sealed files, purposes that never change, nothing overwritten."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
)

from pkid.errors import ErrorCode, PKIError
from pkid.keys.file import FileKeyStore, KeyDescription, Purpose
from pkid.keys.pbes2 import ScryptParameters, Sealed, decode_pem, encode_pem
from pkid.keys.secrets import Secret
from pkid.keys.signers import public_octets
from tests.keys.samples import PASSPHRASE, InlineWorkers, key_store
from tests.storage.samples import result_of

SPECS = [
    "ec:P-256",
    "ec:P-384",
    "ec:P-521",
    "ec:brainpoolP256r1",
    "ec:brainpoolP384r1",
    "ec:brainpoolP512r1",
    "ed25519",
    "ed448",
    "ml-dsa-44",
    "ml-dsa-65",
    "ml-dsa-87",
    "rsa:2048",
    "rsa:3072",
]
#: Keys that cannot sign, by the purpose that wants them.
FITTING = {
    "key-agreement": "x25519",
    "decapsulation": "ml-kem-768",
    **dict.fromkeys(
        ("decryption", "message-exchange", "certificate-signing"), "rsa:2048"
    ),
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def keys(directory: Path) -> FileKeyStore:
    return key_store(directory)


def refusal_of(awaited: Coroutine[Any, Any, object]) -> PKIError:
    with pytest.raises(PKIError) as caught:
        result_of(awaited)
    return caught.value


@pytest.mark.parametrize("spec", SPECS)
def test_a_key_of_each_kind_is_made_once_and_opened_again(
    directory: Path, keys: FileKeyStore, spec: str
) -> None:
    public = result_of(keys.generate("cmp", spec, "message-signing"))
    load_der_public_key(public)
    assert result_of(keys.generate("cmp", spec, "message-signing")) == public
    again = key_store(directory)
    assert result_of(again.generate("cmp", spec, "message-signing")) == public
    signer = result_of(again.message_signer("cmp"))
    assert signer.public_key == public
    assert again.describe("cmp") == KeyDescription(
        Purpose.MESSAGE_SIGNING, spec, public
    )
    assert again.names() == ("cmp",)


@pytest.mark.parametrize(
    "spec", ["rsa:1024", "rsa:2048-4096", "rsa:16384", "ec:P-224", "ml-kem-768", "x"]
)
def test_keys_that_are_too_weak_or_do_not_sign_are_not_made(
    directory: Path, keys: FileKeyStore, spec: str
) -> None:
    fault = refusal_of(keys.generate("cmp", spec, "message-signing"))
    assert fault.code is ErrorCode.BAD_ALGORITHM
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["", "../x", "A", "a/b", ".a", "a" * 65, "secrets", "ü"]
)
def test_a_name_is_a_plain_file_name(keys: FileKeyStore, name: str) -> None:
    fault = refusal_of(keys.generate(name, "ed25519", "tls"))
    assert fault.code is ErrorCode.BAD_REQUEST


@pytest.mark.requirement("SEC-111")
@pytest.mark.parametrize("purpose", [each.value for each in Purpose])
def test_a_key_opens_for_its_purpose_only(keys: FileKeyStore, purpose: str) -> None:
    spec = FITTING.get(purpose, "ed25519")
    result_of(keys.generate("key", spec, purpose))
    doors = {
        keys.certificate_signer: {"certificate-signing"},
        keys.status_signer: {"certificate-signing", "status-signing"},
        keys.message_signer: {"message-signing", "message-exchange", "audit-signing"},
        keys.decrypter: {"decryption", "message-exchange", "certificate-signing"},
        keys.key_agreement: {"key-agreement"},
        keys.decapsulation: {"decapsulation"},
        keys.tls_key: {"tls"},
        keys.export_private_key: {"client"},
    }
    for door, purposes in doors.items():
        if purpose in purposes:
            result_of(door("key"))
        else:
            assert refusal_of(door("key")).code is ErrorCode.NOT_AUTHORIZED
    for other in set(Purpose) - {Purpose(purpose)}:
        fault = refusal_of(keys.generate("key", "ed25519", other.value))
        assert fault.code is ErrorCode.CONFLICT
    fault = refusal_of(keys.generate("key", "ed25519", "anything"))
    assert fault.code is ErrorCode.BAD_REQUEST


def test_a_tls_key_and_a_client_key_come_out_as_pkcs8(keys: FileKeyStore) -> None:
    server = result_of(keys.generate("tls", "ec:P-256", "tls"))
    client = result_of(keys.generate("admin", "ec:P-256", "client"))
    private = load_pem_private_key(result_of(keys.tls_key("tls")), None)
    assert public_octets(private.public_key()) == server
    private = load_der_private_key(result_of(keys.export_private_key("admin")), None)
    assert public_octets(private.public_key()) == client


def test_a_key_that_is_not_there_is_not_found(keys: FileKeyStore) -> None:
    assert refusal_of(keys.message_signer("cmp")).code is ErrorCode.NOT_FOUND


def test_the_wrong_passphrase_opens_nothing(directory: Path) -> None:
    keys = key_store(directory)
    for number in range(20):
        result_of(keys.generate(f"k{number}", "ed25519", "tls"))
    result_of(keys.secret_box())
    wrong = key_store(directory, b"wrong")
    for number in range(20):
        fault = refusal_of(wrong.tls_key(f"k{number}"))
        assert fault.code is ErrorCode.UNAVAILABLE
        assert "passphrase" in (fault.hint or "")
    assert refusal_of(wrong.secret_box()).code is ErrorCode.UNAVAILABLE


def test_one_derivation_opens_all_keys(directory: Path) -> None:
    keys = key_store(directory)
    for name in ("a", "b", "c"):
        result_of(keys.generate(name, "ed25519", "tls"))
    result_of(keys.secret_box())
    workers = InlineWorkers()
    again = FileKeyStore(directory, passphrase=Secret(PASSPHRASE), workers=workers)
    for name in ("a", "b", "c"):
        result_of(again.tls_key(name))
    result_of(again.secret_box())
    assert workers.calls == 1


@pytest.mark.parametrize("spec", ["ec:P-256", "rsa:2048", "ed25519"])
def test_openssl_reads_the_file_with_the_passphrase(directory: Path, spec: str) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    # At full cost: OpenSSL refuses what needs more memory than it likes.
    keys = FileKeyStore(
        directory, passphrase=Secret(PASSPHRASE), workers=InlineWorkers()
    )
    public = result_of(keys.generate("ca", spec, "certificate-signing"))
    command = [openssl, "pkey", "-in", directory / "ca.key", "-passin", "stdin"]
    found = subprocess.run(
        [*command, "-pubout", "-outform", "DER"],
        input=PASSPHRASE,
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert found.stdout == public
    octets = decode_pem("ENCRYPTED PRIVATE KEY", (directory / "ca.key").read_bytes())
    private = load_der_private_key(octets, PASSPHRASE)
    assert public_octets(private.public_key()) == public
    sealed = Sealed.decode(octets)
    parameters = sealed.parameters
    assert (parameters.cost, parameters.block_size, parameters.parallelism) == (
        1 << 14,
        8,
        5,
    )


@pytest.mark.requirement("SEC-100", "SEC-101")
def test_key_files_are_private_whatever_the_umask(directory: Path) -> None:
    old = os.umask(0)
    try:
        keys = key_store(directory)
        result_of(keys.generate("ca", "ed25519", "certificate-signing"))
        result_of(keys.secret_box())
    finally:
        os.umask(old)
    assert directory.stat().st_mode & 0o777 == 0o700
    names = {path.name for path in directory.iterdir()}
    assert names == {"ca.key", "ca.json", "secrets.key"}
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}


@pytest.mark.requirement("SEC-100")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o610])
@pytest.mark.parametrize("name", ["ca.key", "ca.json", "secrets.key"])
def test_a_key_file_open_to_others_is_refused(
    directory: Path, name: str, mode: int
) -> None:
    keys = key_store(directory)
    result_of(keys.generate("ca", "ed25519", "certificate-signing"))
    result_of(keys.secret_box())
    (directory / name).chmod(mode)
    opening = (
        keys.secret_box() if name == "secrets.key" else keys.certificate_signer("ca")
    )
    fault = refusal_of(opening)
    assert fault.code is ErrorCode.UNAVAILABLE
    assert "chmod" in (fault.hint or "")


@pytest.mark.requirement("SEC-100")
@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_key_directory_open_to_others_is_refused(directory: Path, mode: int) -> None:
    directory.mkdir(mode=0o700)
    directory.chmod(mode)
    with pytest.raises(PKIError, match="open to other users"):
        key_store(directory)


@pytest.mark.requirement("SEC-100")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_key_file_of_another_user_is_refused(
    directory: Path, keys: FileKeyStore
) -> None:
    result_of(keys.generate("ca", "ed25519", "certificate-signing"))
    os.chown(directory / "ca.key", 1234, -1)
    fault = refusal_of(keys.certificate_signer("ca"))
    assert "another user" in fault.detail


def test_a_key_file_that_is_a_link_is_refused(
    directory: Path, keys: FileKeyStore
) -> None:
    result_of(keys.generate("ca", "ed25519", "certificate-signing"))
    (directory / "ca.key").rename(directory / "moved")
    (directory / "ca.key").symlink_to(directory / "moved")
    assert refusal_of(keys.certificate_signer("ca")).code is ErrorCode.UNAVAILABLE


def test_an_exchanged_key_is_noticed(directory: Path, keys: FileKeyStore) -> None:
    for name in ("one", "two"):
        result_of(keys.generate(name, "ed25519", "certificate-signing"))
    (directory / "two.key").replace(directory / "one.key")
    fault = refusal_of(keys.certificate_signer("one"))
    assert "not the one that was made" in fault.detail


def test_a_start_that_was_broken_off_keeps_its_key(
    directory: Path, keys: FileKeyStore
) -> None:
    public = result_of(keys.generate("ca", "ed25519", "certificate-signing"))
    (directory / "ca.json").unlink()
    sealed = (directory / "ca.key").read_bytes()
    again = result_of(keys.generate("ca", "ed25519", "certificate-signing"))
    assert again == public
    assert (directory / "ca.key").read_bytes() == sealed


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"purpose": 1}', b"\xff"])
def test_a_damaged_description_is_refused(
    directory: Path, keys: FileKeyStore, content: bytes
) -> None:
    result_of(keys.generate("ca", "ed25519", "certificate-signing"))
    (directory / "ca.json").write_bytes(content)
    fault = refusal_of(keys.generate("ca", "ed25519", "certificate-signing"))
    assert fault.code is ErrorCode.UNAVAILABLE


def test_a_damaged_key_file_is_refused(directory: Path, keys: FileKeyStore) -> None:
    result_of(keys.generate("ca", "ed25519", "certificate-signing"))
    whole = (directory / "ca.key").read_bytes()
    for content in (b"", whole[:100], whole.replace(b"PRIVATE", b"PUBLIC"), whole * 2):
        (directory / "ca.key").write_bytes(content)
        refusal_of(keys.certificate_signer("ca"))


@pytest.mark.parametrize(
    "changes",
    [
        {"cost": 3},
        {"cost": 1},
        {"cost": 1 << 30},
        {"block_size": 0},
        {"block_size": 1 << 20},
        {"parallelism": 0},
        {"parallelism": 1000},
    ],
)
def test_a_derivation_that_would_take_too_much_is_refused(
    changes: dict[str, int],
) -> None:
    values = {"cost": 16, "block_size": 8, "parallelism": 1} | changes
    parameters = ScryptParameters(b"salt", **values)
    sealed = Sealed(parameters, bytes(16), bytes(16))
    with pytest.raises(PKIError) as caught:
        Sealed.decode(sealed.encode())
    assert caught.value.code is ErrorCode.BAD_ALGORITHM


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("06092a864886f70d01050d", "06092a864886f70d01050e"),  # not PBES2
        ("06092b06010401da47040b", "06092b06010401da47040c"),  # not scrypt
        ("060960864801650304012a", "0609608648016503040116"),  # not AES-256-CBC
    ],
)
def test_a_file_sealed_in_another_way_is_refused(old: str, new: str) -> None:
    octets = Sealed(ScryptParameters(b"salt", 2, 1, 1), bytes(16), bytes(16)).encode()
    changed = octets.replace(bytes.fromhex(old), bytes.fromhex(new))
    assert changed != octets
    with pytest.raises(PKIError) as caught:
        Sealed.decode(changed)
    assert caught.value.code is ErrorCode.BAD_ALGORITHM


def test_pem_goes_there_and_back() -> None:
    for size in (0, 1, 47, 48, 49, 1000):
        octets = os.urandom(size)
        text = encode_pem("X", octets)
        if size:
            assert decode_pem("X", text) == octets
        assert max(map(len, text.splitlines())) <= 64


@pytest.mark.parametrize("spec", ["ec:P-256", "rsa:2048", "x448", "ml-kem-1024"])
def test_a_pair_for_somebody_else_is_kept_nowhere(
    directory: Path, keys: FileKeyStore, spec: str
) -> None:
    before = sorted(directory.iterdir())
    pair = result_of(keys.generate_pair(spec))
    assert result_of(keys.public_key_of(pair.private_key)) == pair.public_key
    assert sorted(directory.iterdir()) == before
    assert keys.names() == ()


def test_what_is_no_private_key_has_no_public_one(keys: FileKeyStore) -> None:
    for octets in (b"", b"0\x00", os.urandom(64)):
        refused = refusal_of(keys.public_key_of(octets))
        assert refused.code is ErrorCode.BAD_REQUEST
    assert refusal_of(keys.generate_pair("ec:secp256k1")).code is (
        ErrorCode.BAD_ALGORITHM
    )
