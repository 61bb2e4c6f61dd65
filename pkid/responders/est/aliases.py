"""What the configuration says of one EST entrance, beyond the engine's own `Alias`.

The defaults serve the clients in the field; each leniency names who needs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pkid.engine.aliases import Alias, Authentication
from pkid.errors import ErrorCode, PKIError

PROTOCOL: Final = "est"
#: Names of operations; no entrance is called like one.
OPERATIONS: Final = frozenset(
    {
        "cacerts", "csrattrs", "simpleenroll", "simplereenroll", "serverkeygen",
        "fullcmc", "crls", "eecerts",
    }
)  # fmt: skip
HTTP_SCHEMES: Final = ("basic", "digest-sha256", "digest-md5")
BASE64: Final = ("auto", "wrapped", "single")
BINDINGS: Final = ("verify", "require", "secret", "ignore")
CSR_ATTRIBUTES: Final = ("off", "legacy", "extensions", "template")


@dataclass(frozen=True, slots=True, kw_only=True)
class ESTAlias:
    """One EST entrance.

    :ivar alias: what the engine knows of it.
    :ivar http_authentication: schemes offered to a client without a usable
        certificate, in this order.
    :ivar both: certificate and password together, neither alone.
    :ivar binding: what a challengePassword is: "verify" takes it for the channel
        binding when it is there, "require" demands it, "secret" takes it for a SCEP
        challenge where nothing else says who asks, "ignore" does not look.
    :ivar base64: lines of answers; "auto" goes by the client.
    :ivar transfer_encoding: send Content-Transfer-Encoding, which Bouncy Castle needs.
    :ivar strict_content_type: refuse requests of another media type with 415.
    :ivar missing_names: a renewal without the alternative names of its certificate:
        "copy" them, or "refuse".
    :ivar chain: send the issuing CA's certificates behind the new one.
    :ivar csr_attributes: form of /csrattrs.
    :ivar server_key: kind of a key made here: the "request"'s, or the first of the
        "profile".
    :ivar encrypted_keys: private keys leave encrypted or not at all.
    :ivar full_cmc: whether /fullcmc answers.
    :ivar peers: end entities whose certificates /eecerts hands out.
    :ivar retry_after: when a waiting client asks again; None takes the rule's.
    :raises PKIError: ``BAD_REQUEST`` on construction for what clashes.
    """

    alias: Alias
    http_authentication: tuple[str, ...] = ("basic",)
    both: bool = False
    binding: str = "verify"
    base64: str = "auto"
    transfer_encoding: bool = True
    strict_content_type: bool = False
    missing_names: str = "copy"
    chain: bool = False
    csr_attributes: str = "extensions"
    server_key: str = "request"
    encrypted_keys: bool = False
    full_cmc: bool = False
    peers: tuple[str, ...] = ()
    retry_after: timedelta | None = None

    def __post_init__(self) -> None:
        ways = self.alias.authenticate
        by_certificate = ways - {Authentication.MAC}
        if self.alias.name in OPERATIONS:
            raise _fault(f"{self.alias.name!r} is the name of an operation")
        if self.both and not (by_certificate and Authentication.MAC in ways):
            raise _fault('both needs "mac" and a kind of certificate in authenticate')
        if Authentication.MAC in ways and not self.http_authentication:
            raise _fault('"mac" in authenticate needs http_authentication')

    @property
    def name(self) -> str:
        """The label in URLs."""
        return self.alias.name

    @property
    def takes_passwords(self) -> bool:
        """Whether HTTP authentication leads anywhere here."""
        return Authentication.MAC in self.alias.authenticate


def _fault(detail: str) -> PKIError:
    return PKIError(ErrorCode.BAD_REQUEST, detail)
