"""Secrets inside a protocol's own state: sealed, so that the store holds none.

The state of a transaction is octets of its responder. What is secret in it (a key that
a client and we agreed upon) is sealed before it is put there, to its transaction alone.
"""

from __future__ import annotations

from pkid.asn1 import der
from pkid.engine.model import TransactionKey
from pkid.engine.ports import SecretBox


class StateSealing:
    """Seals and opens secrets of transactions."""

    def __init__(self, box: SecretBox) -> None:
        self._box = box

    def seal(self, secret: bytes, key: TransactionKey) -> bytes:
        """The secret, fit to be stored in the state of this transaction."""
        return self._box.seal(secret, _associated(key))

    def open(self, sealed: bytes, key: TransactionKey) -> bytes:
        """The secret again.

        :raises PKIError: ``UNAVAILABLE`` or ``INTERNAL`` when it is of another
            transaction or was changed.
        """
        return self._box.open(sealed, _associated(key))


def _associated(key: TransactionKey) -> bytes:
    texts = (key.protocol, key.alias, key.requester)
    return der.sequence(
        der.utf8_string("transaction"),
        *map(der.utf8_string, texts),
        der.octet_string(key.transaction_id),
    )
