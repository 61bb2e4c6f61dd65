"""/cacerts, /crls and /eecerts: what is there for the asking.

**Source:** RFC 7030 section 4.1; RFC 8295 sections 3.1 and 3.2 (the section numbers of
/eecerts and /crls).
"""

from __future__ import annotations

from pkid.asn1.cms.signed import encode_certs_only
from pkid.messages.est import CERTS_ONLY
from pkid.responders.base import Exchange, Reply
from pkid.responders.est.aliases import ESTAlias
from pkid.responders.est.bodies import cached_reply
from pkid.responders.est.doors import Engine


class Distribution:
    """Answers what needs no authentication."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

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
