"""Workers without threads, a cheap derivation, and octets that look like things."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred, execute, succeed

from pkid.asn1 import der
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.keys.file import FileKeyStore
from pkid.keys.pbes2 import ScryptParameters
from pkid.keys.secrets import Secret

P = ParamSpec("P")
R = TypeVar("R")
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PASSPHRASE = b"correct horse battery staple"
CHEAP = ScryptParameters(b"salt of the tests", 2, 1, 1)


class InlineWorkers:
    """The `Workers` port, at once and in this thread."""

    def __init__(self) -> None:
        self.calls = 0

    def run(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[R]:
        self.calls += 1
        return execute(function, *args, **kwargs)

    def pace(self, steps: Generator[None, None, R]) -> Deferred[R]:
        try:
            while True:
                next(steps)
        except StopIteration as stop:
            return succeed(stop.value)


def key_store(directory: Path, passphrase: bytes = PASSPHRASE) -> FileKeyStore:
    return FileKeyStore(
        directory,
        passphrase=Secret(passphrase),
        workers=InlineWorkers(),
        work=CHEAP,
    )


_ALGORITHM = AlgorithmIdentifier("1.2.840.10045.4.3.2").encode()
_NAME = der.sequence(
    der.set_of(der.sequence(der.oid("2.5.4.3"), der.utf8_string("Test")))
)
_VALIDITY = der.sequence(der.time(NOW), der.time(NOW))
_SPKI = der.sequence(_ALGORITHM, der.bit_string(b"\x04" + bytes(64)))
_BODY = (der.integer(77), _ALGORITHM, _NAME, _VALIDITY, _NAME, _SPKI)

TBS_CERTIFICATE = der.sequence(der.explicit(0, der.integer(2)), *_BODY)
TBS_CERTIFICATE_VERSION_1 = der.sequence(*_BODY)
TBS_CRL = der.sequence(der.integer(1), _ALGORITHM, _NAME, der.time(NOW))
TBS_CRL_VERSION_1 = der.sequence(_ALGORITHM, _NAME, der.time(NOW), der.time(NOW))
RESPONSE_DATA = der.sequence(
    der.explicit(1, _NAME), der.generalized_time(NOW), der.sequence()
)
RESPONSE_DATA_BY_KEY = der.sequence(
    der.explicit(0, der.integer(0)),
    der.explicit(2, der.octet_string(bytes(20))),
    der.generalized_time(NOW),
    der.sequence(),
)
PROTECTED_PART = der.sequence(
    der.sequence(der.integer(2), der.explicit(4, _NAME)),
    der.explicit(19, der.sequence()),
)
