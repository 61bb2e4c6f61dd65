"""TLS of each listener: our own certificate, or one of another PKI from files.

Files are read at start, at SIGHUP and once an hour, so that whatever renews them needs
no word to us; connections that are open keep what they have.

**Source:** RFC 7030 section 3.6 (explicit and implicit trust anchors).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pkid.app.settings import Listener
from pkid.app.tables import EST_SERVICE
from pkid.errors import ErrorCode, PKIError
from pkid.keys.secrets import SecretReference
from pkid.transports.tls import TLSContext, TLSCredentials


class TLSContexts:
    """The contexts, by listener.

    :param base: directory that relative paths start from.
    :param environment: of the process, for references to secrets.
    """

    def __init__(self, base: Path, environment: Mapping[str, str]) -> None:
        self._base = base
        self._environment = environment
        self._contexts: dict[str, TLSContext] = {}

    def adopt(self, listeners: Mapping[str, Listener], own: TLSCredentials) -> None:
        """Make the contexts that are missing, and give all their credentials anew.

        :param own: of listeners that name no certificate.
        :raises PKIError: ``UNAVAILABLE`` for files that cannot be used; those contexts
            that there are keep what they have.
        """
        for name, listener in listeners.items():
            if listener.tls:
                self._adopt(name, listener, own)

    def _adopt(self, name: str, listener: Listener, own: TLSCredentials) -> None:
        credentials = own if not listener.certificate else self._read(listener)
        known = self._contexts.get(name)
        try:
            if known is None:
                self._contexts[name] = TLSContext(
                    credentials,
                    full_handshakes=EST_SERVICE in listener.serves,
                    newest=listener.newest_tls,
                )
            else:
                known.replace(credentials)
        except ValueError as error:
            raise _unusable(listener, str(error)) from error

    def find(self, name: str) -> TLSContext | None:
        """That of a listener; None before `adopt`, and for one without TLS."""
        return self._contexts.get(name)

    def rotate(self) -> None:
        """Make new keys for session tickets."""
        for context in self._contexts.values():
            context.rotate()

    def _read(self, listener: Listener) -> TLSCredentials:
        try:
            chain = (self._base / listener.certificate).read_bytes()
        except OSError as error:
            reason = error.strerror or "it cannot be read"
            raise _unusable(listener, f"{listener.certificate}: {reason}") from error
        reference = SecretReference.decode(listener.key)
        key = reference.resolve(self._environment, base=self._base)
        return TLSCredentials(key_pem=key.reveal(), chain_pem=chain)


def _unusable(listener: Listener, reason: str) -> PKIError:
    return PKIError(
        ErrorCode.UNAVAILABLE,
        f"the TLS certificate of listener {listener.name} cannot be used: {reason}",
        hint=f"certificate and key of [listener.{listener.name}]",
    )
