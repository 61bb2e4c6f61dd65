"""The key store in a directory: encrypted PKCS #8 files and what they are for.

``<name>.key`` is the key, ``<name>.json`` its purpose, kind and public key. A name's
purpose never changes. Keys are opened as typed handles (`pkid.keys.signers`).

**Source:** RFC 5958; security requirements SEC-100, SEC-102, SEC-111.
"""

from __future__ import annotations

import base64
import enum
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import (
    ec,
    ed448,
    ed25519,
    mldsa,
    rsa,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from pkid.crypto.algorithms import KeySpec, PrivateKey
from pkid.crypto.kem import KEMPrivateKey
from pkid.crypto.keyagreement import AgreementPrivateKey
from pkid.engine.model import GeneratedKey
from pkid.engine.ports import Workers
from pkid.errors import ErrorCode, PKIError
from pkid.keys.agreements import (
    AGREEMENT_GENERATORS,
    KEM_GENERATORS,
    FileDecapsulation,
    FileKeyAgreement,
)
from pkid.keys.decrypters import FileDecrypter
from pkid.keys.files import create_key_file, make_key_directory, read_key_file
from pkid.keys.pbes2 import (
    ScryptParameters,
    Sealed,
    decode_pem,
    encode_pem,
    wrong_passphrase,
)
from pkid.keys.secrets import BOX_KEY_OCTETS, AESGCMSecretBox, Secret
from pkid.keys.signers import (
    FileCertificateSigner,
    FileMessageSigner,
    FileStatusSigner,
    public_octets,
    signing,
)

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
_RSA_EXPONENT: Final = 65537
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_KEY_LABEL: Final = "ENCRYPTED PRIVATE KEY"
# Sealed like a key, but it is not one: no program should take it for PKCS #8.
_BOX_LABEL: Final = "PKID SECRET BOX KEY"
_BOX_FILE: Final = "secrets.key"

#: Keys that sign, agree or open: what a file may hold.
OwnPrivateKey = PrivateKey | AgreementPrivateKey | KEMPrivateKey

_GENERATORS: Final[dict[str, Callable[[], PrivateKey]]] = {
    "ec:P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec:P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ec:P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ec:brainpoolP256r1": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
    "ec:brainpoolP384r1": lambda: ec.generate_private_key(ec.BrainpoolP384R1()),
    "ec:brainpoolP512r1": lambda: ec.generate_private_key(ec.BrainpoolP512R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "ml-dsa-44": mldsa.MLDSA44PrivateKey.generate,
    "ml-dsa-65": mldsa.MLDSA65PrivateKey.generate,
    "ml-dsa-87": mldsa.MLDSA87PrivateKey.generate,
}


class Purpose(enum.Enum):
    """What a key is for, as `KeyHandleRecord.purpose` names it."""

    CERTIFICATE_SIGNING = "certificate-signing"
    STATUS_SIGNING = "status-signing"
    MESSAGE_SIGNING = "message-signing"
    AUDIT_SIGNING = "audit-signing"
    KEY_AGREEMENT = "key-agreement"
    DECAPSULATION = "decapsulation"
    DECRYPTION = "decryption"
    MESSAGE_EXCHANGE = "message-exchange"  # signs messages and decrypts them (SCEP)
    TLS = "tls"
    CLIENT = "client"


_MESSAGE_PURPOSES: Final = (
    Purpose.MESSAGE_SIGNING,
    Purpose.MESSAGE_EXCHANGE,
    Purpose.AUDIT_SIGNING,
)
_AUTHORITY_PURPOSES: Final = (Purpose.CERTIFICATE_SIGNING,)
_RSA_PURPOSES: Final = (Purpose.DECRYPTION, Purpose.MESSAGE_EXCHANGE)
_DECRYPTING_PURPOSES: Final = (
    Purpose.DECRYPTION,
    Purpose.MESSAGE_EXCHANGE,
    Purpose.CERTIFICATE_SIGNING,
)


@dataclass(frozen=True, slots=True)
class KeyDescription:
    """What ``<name>.json`` says of a key.

    :ivar spec: "ec:P-256", "rsa:2048" ...
    :ivar public_key: SubjectPublicKeyInfo.
    """

    purpose: Purpose
    spec: str
    public_key: bytes

    def encode(self) -> bytes:
        """The file."""
        values = {
            "purpose": self.purpose.value,
            "spec": self.spec,
            "public_key": base64.b64encode(self.public_key).decode("ascii"),
        }
        return json.dumps(values, indent=2).encode("ascii") + b"\n"

    @classmethod
    def decode(cls, octets: bytes) -> KeyDescription:
        """Read the file.

        :raises PKIError: ``UNAVAILABLE`` when it is not what `encode` writes.
        """
        try:
            values = json.loads(octets)
            public_key = base64.b64decode(values["public_key"], validate=True)
            return cls(Purpose(values["purpose"]), str(values["spec"]), public_key)
        except (ValueError, KeyError, TypeError) as fault:
            raise PKIError(
                ErrorCode.UNAVAILABLE, "the description of a key is damaged"
            ) from fault


class FileKeyStore:
    """The `KeyStore` port over one directory of sealed files.

    :param directory: made with mode 0700 when it is not there.
    :param passphrase: seals the files; any length.
    :param workers: for what takes long: derivation, generation, RSA, ML-DSA.
    :param work: cost of the derivation for files made from now on; tests make it cheap.
    :raises PKIError: ``UNAVAILABLE`` when the directory is open to others.
    """

    def __init__(
        self,
        directory: Path,
        *,
        passphrase: Secret,
        workers: Workers,
        work: ScryptParameters | None = None,
    ) -> None:
        make_key_directory(directory)
        self._directory = directory
        self._passphrase = passphrase
        self._workers = workers
        self._parameters = self._find_parameters() or work or ScryptParameters.fresh()
        self._derived: dict[ScryptParameters, Secret] = {}
        self._authorities: dict[str, str] = {}

    # --- the port -------------------------------------------------------------------

    async def generate(self, name: str, spec: str, purpose: str) -> bytes:
        """Make a key; one of this name and purpose that is there is kept.

        :param name: lower-case letters, digits, ``.``, ``_``, ``-``; at most 64.
        :param spec: "ec:P-256", "rsa:2048", "ed25519", "ml-dsa-65" ...
        :param purpose: one of `Purpose`.
        :returns: SubjectPublicKeyInfo.
        :raises PKIError: ``CONFLICT`` when the name is in use for another purpose,
            ``BAD_REQUEST`` for a bad name or purpose, ``BAD_ALGORITHM`` for a key that
            cannot be made here.
        """
        wanted = _purpose(purpose)
        path = self._path(name)
        try:
            found = self._description(name)
        except PKIError as fault:
            if fault.code is not ErrorCode.NOT_FOUND:
                raise
            return await self._generate(path, spec, wanted)
        if found.purpose is not wanted:
            raise PKIError(
                ErrorCode.CONFLICT,
                f"key {name} is for {found.purpose.value}, and that never changes",
            )
        return found.public_key

    async def certificate_signer(self, name: str) -> FileCertificateSigner:
        """Open a CA's key.

        :raises PKIError: ``NOT_FOUND``; ``NOT_AUTHORIZED`` for a key of another
            purpose; ``UNAVAILABLE`` when it cannot be opened.
        """
        key = await self._load(name, Purpose.CERTIFICATE_SIGNING)
        return FileCertificateSigner(
            name,
            key.public_key(),
            signing(cast(PrivateKey, key), self._workers),
            self._authorities,
        )

    async def status_signer(self, name: str) -> FileStatusSigner:
        """Open a key that signs CRLs and OCSP responses; a CA's key does too.

        :raises PKIError: as `certificate_signer`.
        """
        key = await self._load(
            name, Purpose.STATUS_SIGNING, Purpose.CERTIFICATE_SIGNING
        )
        public_key = key.public_key()
        sign = signing(cast(PrivateKey, key), self._workers)
        return FileStatusSigner(name, public_key, sign)

    async def message_signer(
        self, name: str, *, of_authority: bool = False
    ) -> FileMessageSigner:
        """Open a key that signs protocol messages or audit heads.

        :param of_authority: open a CA's own key instead; still no certificate comes
            out of the handle.
        :raises PKIError: as `certificate_signer`.
        """
        purposes = _AUTHORITY_PURPOSES if of_authority else _MESSAGE_PURPOSES
        key = await self._load(name, *purposes)
        public_key = key.public_key()
        sign = signing(cast(PrivateKey, key), self._workers, allow_sha1=True)
        return FileMessageSigner(name, public_key, sign)

    async def decrypter(self, name: str) -> FileDecrypter:
        """Open an RSA key that decrypts; a CA's own does too.

        :raises PKIError: as `certificate_signer`; ``BAD_ALGORITHM`` when it is not RSA.
        """
        key = await self._load(name, *_DECRYPTING_PURPOSES)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise PKIError(
                ErrorCode.BAD_ALGORITHM,
                f"key {name} is not RSA: nobody can encrypt to it",
            )
        return FileDecrypter(name, key, self._workers)

    async def key_agreement(self, name: str) -> FileKeyAgreement:
        """Open a key that agrees upon secrets.

        :raises PKIError: as `certificate_signer`.
        """
        key = await self._load(name, Purpose.KEY_AGREEMENT)
        return FileKeyAgreement(name, cast(AgreementPrivateKey, key), self._workers)

    async def decapsulation(self, name: str) -> FileDecapsulation:
        """Open a KEM key.

        :raises PKIError: as `certificate_signer`.
        """
        key = await self._load(name, Purpose.DECAPSULATION)
        return FileDecapsulation(name, cast(KEMPrivateKey, key))

    async def public_key_of(self, private_key: bytes) -> bytes:
        """SubjectPublicKeyInfo of a private key that somebody handed over.

        :param private_key: PKCS #8, not encrypted; nothing of it is kept.
        :raises PKIError: ``BAD_REQUEST`` when it is none.
        """
        return await self._workers.run(_public_of, private_key)

    async def generate_pair(self, spec: str) -> GeneratedKey:
        """Make a key pair for somebody else; nothing of it is kept.

        :param spec: "ec:P-256", "rsa:3072", "ml-dsa-65", "x25519", "ml-kem-768" ...
        :raises PKIError: ``BAD_ALGORITHM`` for a kind that cannot be made here.
        """
        key = await self._workers.run(_generate_for_others, spec)
        return GeneratedKey(public_octets(key.public_key()), _pkcs8(key))

    # --- beside the port ------------------------------------------------------------

    async def tls_key(self, name: str) -> bytes:
        """PEM of a TLS server's key (PKCS #8, not encrypted), for the TLS library.

        :raises PKIError: as `certificate_signer`.
        """
        return _pem(await self._load(name, Purpose.TLS))

    async def export_private_key(self, name: str) -> bytes:
        """DER of a client's key (PKCS #8, not encrypted), made to be handed out.

        :raises PKIError: as `certificate_signer`.
        """
        return _pkcs8(await self._load(name, Purpose.CLIENT))

    async def secret_box(self) -> AESGCMSecretBox:
        """The box that seals shared secrets in the store; its key is made at first use.

        The key is sealed with the passphrase as all others are, so that a copy of the
        state directory gives away no secret of a device without it.

        :raises PKIError: ``UNAVAILABLE`` when the passphrase is wrong.
        """
        path = self._directory / _BOX_FILE
        if not path.exists():
            fresh = Secret(secrets.token_bytes(BOX_KEY_OCTETS))
            sealed = await self._seal(fresh)
            create_key_file(path, encode_pem(_BOX_LABEL, sealed.encode()))
        sealed = Sealed.decode(decode_pem(_BOX_LABEL, read_key_file(path)))
        octets = sealed.open(await self._derive(sealed.parameters))
        if len(octets) != BOX_KEY_OCTETS:
            raise wrong_passphrase()
        return AESGCMSecretBox(Secret(octets))

    def describe(self, name: str) -> KeyDescription:
        """Purpose, kind and public key, without opening the key.

        :raises PKIError: ``NOT_FOUND``.
        """
        self._path(name)
        return self._description(name)

    def names(self) -> tuple[str, ...]:
        """Names of all keys."""
        return tuple(sorted(path.stem for path in self._directory.glob("*.json")))

    # --- files ----------------------------------------------------------------------

    def _path(self, name: str) -> Path:
        if _NAME.fullmatch(name) is None or f"{name}.key" == _BOX_FILE:
            raise PKIError(ErrorCode.BAD_REQUEST, "not a name for a key")
        return self._directory / f"{name}.key"

    def _description(self, name: str) -> KeyDescription:
        return KeyDescription.decode(read_key_file(self._directory / f"{name}.json"))

    def _find_parameters(self) -> ScryptParameters | None:
        """Salt and cost of the files that are there: one derivation opens them all."""
        for path in sorted(self._directory.glob("*.key")):
            label = _BOX_LABEL if path.name == _BOX_FILE else _KEY_LABEL
            return Sealed.decode(decode_pem(label, read_key_file(path))).parameters
        return None

    async def _generate(self, path: Path, spec: str, purpose: Purpose) -> bytes:
        if not path.exists():
            key = await self._workers.run(_generate, spec, purpose)
            sealed = await self._seal(Secret(_pkcs8(key)))
            create_key_file(path, encode_pem(_KEY_LABEL, sealed.encode()))
        # What stands in the file counts: one without description is from a start that
        # was broken off, or another call was quicker.
        key = await self._open(path)
        public_key = public_octets(key.public_key())
        description = KeyDescription(purpose, spec, public_key)
        described = path.with_suffix(".json")
        if not create_key_file(described, description.encode()):
            return await self.generate(path.stem, spec, purpose.value)
        return public_key

    async def _load(self, name: str, *purposes: Purpose) -> OwnPrivateKey:
        path = self._path(name)
        description = self._description(name)
        if description.purpose not in purposes:
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED,
                f"key {name} is for {description.purpose.value} only",
            )
        key = await self._open(path)
        if public_octets(key.public_key()) != description.public_key:
            raise PKIError(
                ErrorCode.UNAVAILABLE,
                f"key {name} is not the one that was made under this name",
                hint="restore the key directory from a backup",
            )
        return key

    async def _open(self, path: Path) -> OwnPrivateKey:
        sealed = Sealed.decode(decode_pem(_KEY_LABEL, read_key_file(path)))
        octets = sealed.open(await self._derive(sealed.parameters))
        try:
            return cast(OwnPrivateKey, load_der_private_key(octets, None))
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise wrong_passphrase() from None

    async def _seal(self, plain: Secret) -> Sealed:
        key = await self._derive(self._parameters)
        return Sealed.seal(plain.reveal(), self._parameters, key)

    async def _derive(self, parameters: ScryptParameters) -> Secret:
        found = self._derived.get(parameters)
        if found is None:
            found = await self._workers.run(parameters.derive, self._passphrase)
            self._derived[parameters] = found
        return found


def generate_private_key(spec: str) -> PrivateKey:
    """Make a key of one exact kind.

    :param spec: "ec:P-256", "rsa:3072" ...; RSA from `MIN_RSA_BITS`.
    :raises PKIError: ``BAD_ALGORITHM``.

    Cost: RSA up to a second and more; the others well below a millisecond.
    """
    wanted = KeySpec.decode(spec)
    if wanted.family == "rsa":
        exact = wanted.minimum == wanted.maximum
        if not exact or not MIN_RSA_BITS <= wanted.minimum <= MAX_RSA_BITS:
            raise _cannot_make(spec)
        return rsa.generate_private_key(_RSA_EXPONENT, wanted.minimum)
    generate = _GENERATORS.get(wanted.family)
    if generate is None:
        raise _cannot_make(spec)
    return generate()


def _generate(spec: str, purpose: Purpose) -> OwnPrivateKey:
    """Make a key fit for its purpose.

    :raises PKIError: ``BAD_ALGORITHM``.
    """
    made: dict[Purpose, Mapping[str, Callable[[], OwnPrivateKey]]] = {
        Purpose.KEY_AGREEMENT: AGREEMENT_GENERATORS,
        Purpose.DECAPSULATION: KEM_GENERATORS,
    }
    if purpose in _RSA_PURPOSES and KeySpec.decode(spec).family != "rsa":
        raise _not_made(spec, purpose)
    generators = made.get(purpose)
    if generators is None:
        return generate_private_key(spec)
    generate = generators.get(spec)
    if generate is None:
        raise _not_made(spec, purpose)
    return generate()


def _not_made(spec: str, purpose: Purpose) -> PKIError:
    return PKIError(
        ErrorCode.BAD_ALGORITHM, f"no {spec} keys for {purpose.value} are made here"
    )


def _public_of(private_key: bytes) -> bytes:
    try:
        loaded = load_der_private_key(private_key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise PKIError(ErrorCode.BAD_REQUEST, "not a private key") from None
    return public_octets(cast(OwnPrivateKey, loaded).public_key())


def _generate_for_others(spec: str) -> OwnPrivateKey:
    further: Mapping[str, Callable[[], OwnPrivateKey]] = {
        **AGREEMENT_GENERATORS,
        **KEM_GENERATORS,
    }
    generate = further.get(spec)
    return generate_private_key(spec) if generate is None else generate()


def _cannot_make(spec: str) -> PKIError:
    return PKIError(
        ErrorCode.BAD_ALGORITHM, f"no {spec} keys for signing are made here"
    )


def _purpose(text: str) -> Purpose:
    try:
        return Purpose(text)
    except ValueError:
        raise PKIError(ErrorCode.BAD_REQUEST, f"no key purpose {text!r}") from None


def _pkcs8(key: OwnPrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _pem(key: OwnPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
