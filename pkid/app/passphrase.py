"""The passphrase of the key files: where it comes from.

What the configuration names, else the systemd credential ``pkid-passphrase``, else a
random one that the first start leaves in a file beside the keys.

**Source:** SEC-102; DESIGN sections 7 and 9.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from twisted.logger import Logger

from pkid.errors import ErrorCode, PKIError
from pkid.keys.files import create_key_file, make_key_directory, read_key_file
from pkid.keys.secrets import Secret, SecretReference

CREDENTIAL: Final = "pkid-passphrase"
FILE: Final = "passphrase"
_log = Logger()


def resolve_passphrase(
    reference: str, environment: Mapping[str, str], *, base: Path
) -> Secret | None:
    """The passphrase that the operator gave, read while we still may.

    :param reference: from the configuration; "" for none.
    :param base: what a relative ``file:`` starts from.
    :returns: None when `kept_passphrase` is to be asked, after privileges dropped.
    :raises PKIError: ``UNAVAILABLE`` when the reference leads nowhere.
    """
    if reference:
        return SecretReference.decode(reference).resolve(environment, base=base)
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if directory and (Path(directory) / CREDENTIAL).exists():
        return SecretReference("credential", CREDENTIAL).resolve(environment, base=base)
    return None


def kept_passphrase(keys: Path) -> Secret:
    """The random passphrase beside the keys; made when there are no keys yet.

    :param keys: the directory of keys.
    :raises PKIError: ``UNAVAILABLE`` when there are keys but no passphrase.
    """
    make_key_directory(keys)
    path = keys / FILE
    if not path.exists():
        if any(keys.glob("*.key")):
            raise PKIError(
                ErrorCode.UNAVAILABLE,
                "the passphrase of the keys is not there",
                hint=f"put it back in {path}, or name it: passphrase in [keys]",
            )
        create_key_file(path, secrets.token_urlsafe(32).encode() + b"\n")
    _log.warn(
        "the passphrase of the keys lies beside them in {path}: move it away and name"
        " it in [keys], or give the systemd credential {credential}",
        path=str(path),
        credential=CREDENTIAL,
    )
    return Secret(read_key_file(path).rstrip(b"\r\n"))
