"""/cacerts, /crls and /eecerts: what is there for the asking.

**Source:** RFC 7030 section 4.1; RFC 8295 sections 3 and 4.
"""

from __future__ import annotations

from typing import Final

from pkid.asn1.cms.signed import encode_certs_only
from pkid.engine.model import CertificateStatus
from pkid.engine.ports import CertificateQuery, Clock
from pkid.errors import ErrorCode, PKIError
from pkid.messages.est import CERTS_ONLY
from pkid.responders.base import Exchange, Reply
from pkid.responders.est.aliases import ESTAlias
from pkid.responders.est.bodies import cached_reply
from pkid.responders.est.doors import Engine

#: Of one peer.
MAX_CERTIFICATES: Final = 8


class Distribution:
    """Answers what needs no authentication."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def ca_certificates(self, alias: ESTAlias, exchange: Exchange) -> Reply:
        """All certificates from the issuing CA to the root, next and former ones too.

        While a CA changes its key, NewWithNew, OldWithNew and NewWithOld are among
        them (RFC 7030 section 4.1.3). Clients come here before they trust anybody:
        nothing here is secret.
        """
        found = self._engine.rollover.published(alias.alias.authority)
        # In the order of a DER set: strict readers exist, and it carries no meaning.
        octets = encode_certs_only(sorted(found))
        return cached_reply(alias, exchange, octets, CERTS_ONLY)

    async def revocation_lists(self, alias: ESTAlias, exchange: Exchange) -> Reply:
        """The current CRL of the issuing CA.

        :raises PKIError: ``UNAVAILABLE``.
        """
        crl = await self._engine.latest_crl(alias.alias.authority)
        octets = encode_certs_only((), (crl.der,))
        return cached_reply(alias, exchange, octets, CERTS_ONLY)

    async def peer_certificates(self, alias: ESTAlias, exchange: Exchange) -> Reply:
        """Certificates in force of the end entities that clients here talk to.

        :raises PKIError: ``NOT_FOUND`` where there are none.

        **Source:** RFC 8295 section 3.
        """
        now = self._clock.now()
        found: list[bytes] = []
        for entity in alias.peers:
            query = CertificateQuery(
                entity=entity, status=CertificateStatus.ACTIVE, limit=MAX_CERTIFICATES
            )
            found += [
                await self._engine.certificate_der(record.reference)
                for record in await self._engine.search_certificates(query)
                if record.not_after >= now
            ]
        if not found:
            raise PKIError(
                ErrorCode.NOT_FOUND,
                "there are no certificates of peers here",
                hint=f"peers of alias {alias.name}",
            )
        octets = encode_certs_only(sorted(found))
        return cached_reply(alias, exchange, octets, CERTS_ONLY)
