"""What the configuration says of one ACME directory, beyond the engine's `Alias`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pkid.engine.aliases import Alias
from pkid.errors import ErrorCode, PKIError

PROTOCOL: Final = "acme"
CHALLENGES: Final = ("http-01", "dns-01", "tls-alpn-01")
EXTERNAL_ACCOUNT: Final = ("required", "optional", "off")
IDENTIFIERS: Final = ("dns", "ip")
MAX_IDENTIFIERS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ACMEAlias:
    """One ACME directory.

    :ivar alias: what the engine knows of it.
    :ivar url: base of all its URLs, without a final slash; "" takes the listener's.
    :ivar external_account: whether a new account needs an external account key.
    :ivar challenges: kinds that are offered.
    :ivar identifiers: kinds of identifiers that are taken.
    :ivar single_labels: take names of one label ("localhost", "printer").
    :ivar terms_of_service: URL; "" for none.
    :ivar website: URL; "" for none.
    :ivar caa_identities: names that CAA records may call this CA by.
    :ivar require_contact: whether an account needs an address.
    :ivar order_lifetime: how long an order may take.
    :ivar authorization_lifetime: how long proven control counts for further orders; 0
        for the one order only.
    :ivar maximum_identifiers: in one order.
    :ivar root: send the root at the end of the chain.
    :raises PKIError: ``BAD_REQUEST`` on construction for what does not fit.
    """

    alias: Alias
    url: str = ""
    external_account: str = "required"
    challenges: tuple[str, ...] = CHALLENGES
    identifiers: tuple[str, ...] = IDENTIFIERS
    single_labels: bool = False
    terms_of_service: str = ""
    website: str = ""
    caa_identities: tuple[str, ...] = ()
    require_contact: bool = False
    order_lifetime: timedelta = timedelta(days=7)
    authorization_lifetime: timedelta = timedelta(days=30)
    maximum_identifiers: int = MAX_IDENTIFIERS
    root: bool = False

    def __post_init__(self) -> None:
        if self.order_lifetime <= timedelta(0):
            raise PKIError(ErrorCode.BAD_REQUEST, "order_lifetime must be positive")
        if not self.challenges and self.external_account != "required":
            raise PKIError(
                ErrorCode.BAD_REQUEST,
                "without challenges every account needs an external account key",
            )

    @property
    def name(self) -> str:
        """The label in URLs."""
        return self.alias.name
