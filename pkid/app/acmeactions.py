"""What the control socket can do with ACME: external account keys."""

from __future__ import annotations

import base64
from typing import Final

from pkid.app import views
from pkid.app.actions import MAX_USES, number, text
from pkid.app.control import Actions, Call
from pkid.app.durations import decode_duration
from pkid.app.house import House
from pkid.app.readings import refuse
from pkid.app.views import View
from pkid.engine.credentials import NewSecret
from pkid.engine.model import CredentialBinding, CredentialKind

MAX_NAMES: Final = 1000


class ACMEDesk:
    """The operator's desk for ACME."""

    def __init__(self, house: House) -> None:
        self._house = house

    def actions(self) -> Actions:
        """The table."""
        return {
            ("POST", "acme/eab"): self.add_key,
        }

    async def add_key(self, call: Call) -> View:
        """Make an external account key; the answer is the only time it is shown."""
        expires = None
        if lifetime := text(call, "expires"):
            try:
                expires = self._house.clock.now() + decode_duration(lifetime)
            except ValueError as error:
                raise refuse(f"expires {error}") from None
        issued = await self._house.engine.administration.add_secret(
            NewSecret(
                kind=CredentialKind.ACME_EAB,
                reference=text(call, "reference") or None,
                alias=text(call, "alias"),
                uses=number(call, "uses", MAX_USES),
                expires=expires,
                binding=CredentialBinding(alternative_names=_names(call)),
            ),
            call.actor,
            call.context,
        )
        key = base64.urlsafe_b64encode(issued.secret).rstrip(b"=").decode("ascii")
        return {**views.secret(issued.credential), "hmac": key}


def _names(call: Call) -> tuple[str, ...]:
    found = call.body.get("names") or []
    if not isinstance(found, list) or len(found) > MAX_NAMES:
        raise refuse(f"names must be a list of at most {MAX_NAMES}")
    for one in found:
        if not isinstance(one, str) or one.partition(":")[0] not in ("dns", "ip"):
            raise refuse('a name is like "dns:host" or "ip:192.0.2.1", * for any part')
    return tuple(found)
