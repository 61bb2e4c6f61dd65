"""What the control socket can do with certification authorities."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable
from typing import Final

from pkid.app import views
from pkid.app.actions import needed_text, text
from pkid.app.control import Actions, Call
from pkid.app.readings import refuse
from pkid.app.views import View
from pkid.asn1.names import Name
from pkid.engine.authority import CertificateAuthority
from pkid.engine.creation import NewAuthority
from pkid.errors import PKIError

MAX_CHAIN: Final = 16
#: What a URL can name; a number at the end tells the CAs of a line apart.
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}").fullmatch


class AuthorityDesk:
    """The operator's desk for CAs.

    :param renew: makes the daemon's own certificates anew where they must be.
    """

    def __init__(
        self, engine: CertificateAuthority, renew: Callable[[], Awaitable[int]]
    ) -> None:
        self._engine = engine
        self._renew = renew

    def actions(self) -> Actions:
        """The table."""
        return {
            ("POST", "authorities"): self.create,
            ("POST", "authorities/crl"): self.issue_crl,
            ("POST", "authorities/request"): self.request,
            ("POST", "authorities/install"): self.install,
            ("POST", "authorities/rollover"): self.prepare_successor,
            ("POST", "authorities/activate"): self.activate_successor,
            ("POST", "authorities/renew"): self.renew_authority,
        }

    async def create(self, call: Call) -> View:
        """Make a root, or a CA below one that is there."""
        name = _new_name(call)
        if name in self._engine.authority_names():
            raise refuse(f"there is a CA {name} already", "pkid ca list")
        new = NewAuthority(
            name=name,
            subject=_subject(call),
            key_spec=needed_text(call, "key"),
            parent=text(call, "parent") or None,
        )
        made = await self._engine.create_authority(new, call.context)
        await self._engine.refresh_crls()
        return views.authority(made)

    async def request(self, call: Call) -> View:
        """A key, and a request that another PKI certifies."""
        octets = await self._engine.external_issuer.request(
            _new_name(call),
            _subject(call),
            needed_text(call, "key"),
            call.actor,
            call.context,
        )
        return {"der": base64.b64encode(octets).decode("ascii")}

    async def install(self, call: Call) -> View:
        """The certificates that another PKI gave for a request."""
        made = await self._engine.external_issuer.install(
            needed_text(call, "name"), _certificates(call), call.actor, call.context
        )
        await self._engine.refresh_crls()
        await self._renew()
        return views.authority(made)

    async def issue_crl(self, call: Call) -> View:
        """Make a new CRL now."""
        name = needed_text(call, "name")
        return views.crl(await self._engine.issue_crl(name, call.actor, call.context))

    async def prepare_successor(self, call: Call) -> View:
        """Make the next key of a CA and hand it out."""
        made = await self._engine.rollover.prepare(
            needed_text(call, "name"), text(call, "key"), call.context
        )
        # It must be verifiable before the first certificate of it leaves.
        await self._engine.refresh_crls()
        return views.authority(made)

    async def activate_successor(self, call: Call) -> View:
        """Let the next CA of a line take over, and make our own certificates anew."""
        made = await self._engine.rollover.activate(
            needed_text(call, "name"), call.actor, call.context
        )
        await self._renew()
        return views.authority(made)

    async def renew_authority(self, call: Call) -> View:
        """A new certificate for the key that a CA has."""
        made = await self._engine.rollover.renew(
            needed_text(call, "name"), call.context
        )
        await self._renew()
        return views.authority(made)


def _new_name(call: Call) -> str:
    name = needed_text(call, "name")
    if _NAME(name) is None:
        raise refuse("a CA's name is of a to z, 0 to 9, _ and -, at most 48")
    return name


def _subject(call: Call) -> Name:
    try:
        subject = Name.from_text(needed_text(call, "subject"))
    except PKIError as error:
        raise refuse(f"subject: {error.detail}") from error
    if not subject.rdns:
        raise refuse("a CA needs a subject")
    return subject


def _certificates(call: Call) -> list[bytes]:
    found = call.body.get("certificates")
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_CHAIN:
        raise refuse(f"certificates must be a list of 1 to {MAX_CHAIN}")
    try:
        return [base64.b64decode(str(one), validate=True) for one in found]
    except ValueError:
        raise refuse("certificates must be base64") from None
