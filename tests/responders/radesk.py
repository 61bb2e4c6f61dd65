"""Two responders: a CA, and before it the one under test, on wires that tests cut."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from pkid.asn1 import oids
from pkid.engine.aliases import Alias, Authentication
from pkid.engine.credentials import NewSecret
from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    CredentialKind,
    TransactionRecord,
    TransactionStatus,
)
from pkid.engine.profiles import CertificateProfile
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.message import PKIMessage
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.responder import CMPResponder
from pkid.responders.cmp.upstream import Upstream
from pkid.responders.cmp.upstreamidentity import OwnCertificate
from tests.engine.world import CMP, OPERATOR, World, result_of
from tests.responders.desk import Desk
from tests.responders.peers import BySignature, new_key

NAME = "elsewhere"
RA_SUBJECT = "CN=registration authority"
RA_SECRET = b"insecure-value-of-the-ra"


class CADesk(Desk):
    """The CA: an entrance for the RA and its devices, one for the RA's certificate."""

    def open(self) -> None:
        profile = CertificateProfile(
            name="ra",
            validity=timedelta(days=300),
            key_usage=("digitalSignature",),
            extended_key_usage=(oids.ID_KP_CMC_RA,),
        )
        policies = self.world.policies
        enrolment = Alias(
            name="enrolment",
            protocol="cmp",
            authority="issuing",
            certificate_profile="ra",
        )
        self.world.policies = replace(
            policies,
            certificate_profiles={**policies.certificate_profiles, "ra": profile},
            aliases={**policies.aliases, ("cmp", "enrolment"): enrolment},
        )
        self.change(
            authenticate=frozenset(
                (
                    Authentication.MAC,
                    Authentication.CERTIFICATE,
                    Authentication.REGISTRATION_AUTHORITY,
                )
            ),
            registration_authorities=(RA_SUBJECT,),
        )
        self.responder = CMPResponder(
            self.world.engine,
            self.aliases,
            policies=lambda: self.world.policies,
            clock=self.world.clock,
            workers=self.workers,
        )

    def change(self, **changes: Any) -> None:
        aliases = dict(self.world.policies.aliases)
        aliases["cmp", "default"] = replace(aliases["cmp", "default"], **changes)
        self.world.policies = replace(self.world.policies, aliases=aliases)

    def aliases(self) -> dict[str, CMPAlias]:
        return {
            name: CMPAlias(alias=alias, **self.settings)
            for (_, name), alias in self.world.policies.aliases.items()
        }


class Line:
    """A wire to the CA.

    :ivar cut: nobody answers.
    :ivar losing: the CA does what it is asked, and its answer is lost.
    :ivar forge: what becomes of an answer on its way.
    :ivar sent: what left, all of it.
    """

    def __init__(self, ca: CADesk, alias: str) -> None:
        self._ca = ca
        self._alias = alias
        self.cut = False
        self.losing = False
        self.forge: Any = None
        self.sent: list[bytes] = []
        self.received: list[bytes] = []

    async def send(self, message: bytes) -> bytes:
        self.sent.append(message)
        if self.cut:
            raise PKIError(ErrorCode.UNAVAILABLE, "out of reach", hint="cut")
        exchange = self._ca.exchange(message, alias=self._alias)
        reply = await self._ca.responder.respond(exchange)
        if self.losing:
            raise PKIError(ErrorCode.UNAVAILABLE, "out of reach", hint="lost")
        octets = reply.body if self.forge is None else self.forge(reply.body)
        self.received.append(octets)
        return octets

    @property
    def last(self) -> PKIMessage:
        """The last message that left."""
        return PKIMessage.decode(self.sent[-1])


class RADesk(Desk):
    """The responder under test, before a CA.

    :ivar options: fields of `Upstream` that differ.
    """

    def __init__(self, world: World, ca: CADesk, mode: str = "reprotect") -> None:
        self.ca = ca
        self.line = Line(ca, "default")
        self.enrolment = Line(ca, "enrolment")
        self.options: dict[str, Any] = {}
        self.chain: tuple[bytes, ...] = ()
        new = NewSecret(
            kind=CredentialKind.CMP_SECRET, reference="ra", secret=RA_SECRET
        )
        result_of(ca.world.engine.administration.add_secret(new, OPERATOR, CMP))
        self._mode = mode
        super().__init__(world)
        self.settings["upstream_mode"] = mode
        world.change_alias(upstream=NAME, authority=NAME)

    def open(self) -> None:
        self.responder = CMPResponder(
            self.world.engine,
            lambda: {"default": CMPAlias(alias=self.world.alias, **self.settings)},
            policies=lambda: self.world.policies,
            clock=self.world.clock,
            workers=self.workers,
            upstreams=lambda: {NAME: self.upstream},
        )
        if self._mode != "forward":
            self.prepare()

    @property
    def upstream(self) -> Upstream:
        return Upstream(
            name=NAME,
            wire=self.line,
            enrolment=self.enrolment,
            anchors=(self.ca.world.engine.chain("root")[0],),
            subject=RA_SUBJECT,
            reference="ra",
            secret=RA_SECRET,
            **self.options,
        )

    def own(self) -> OwnCertificate:
        elsewhere = self.world.engine.elsewhere
        signer = result_of(elsewhere.make_key(NAME, "ec:P-256"))
        return OwnCertificate(
            self.upstream, signer, self.world.clock, self.world.random
        )

    def prepare(self) -> None:
        """Get our certificate, or find it again."""
        own = self.own()
        self.chain = result_of(own.current(self.chain))
        self.world.engine.elsewhere.adopt(NAME, own.identity(self.chain))

    def restart(self) -> None:
        self.world.close()
        self.world.open()
        self.open()

    def wait(self, **period: float) -> None:
        """Time passes on both sides."""
        for world in (self.world, self.ca.world):
            world.clock.advance(timedelta(**period))

    def turn(self) -> int:
        """What the daemon does by itself."""
        return result_of(self.responder.advance_elsewhere())

    # --- what is known -----------------------------------------------------------

    def foreign(self, certificate: bytes) -> CertificateRecord:
        """The record of what the CA issued, here."""
        serial = BySignature(certificate, new_key()).parsed.serial_number
        reference = CertificateReference(NAME, serial)
        found = result_of(self.world.engine.find_certificate(reference))
        assert found is not None
        return found

    def row(self, transaction_id: bytes | None) -> TransactionRecord:
        (found,) = result_of(
            self.world.engine.find_transactions_by_id(
                "cmp", "default", transaction_id or b""
            )
        )
        return found

    def status(self, transaction_id: bytes | None) -> TransactionStatus:
        return self.row(transaction_id).status
