"""What anybody may ask for: capabilities and CA certificates.

**Source:** RFC 8894 sections 3.5, 4.2 and 4.7; draft-nourse-scep-23 appendix C for
GetCACertChain.
"""

from __future__ import annotations

from pkid.asn1 import oids
from pkid.asn1.cms.signed import encode_certs_only
from pkid.crypto.algorithms import signature_algorithm_for
from pkid.crypto.certificates import Certificate
from pkid.crypto.identifiers import identifier_of
from pkid.crypto.signeddata import draft_signed_data
from pkid.engine.exchange import ExchangeIdentity, ExchangeKind
from pkid.errors import ErrorCode, PKIError
from pkid.responders.base import Reply
from pkid.responders.scep.aliases import SCEPAlias
from pkid.responders.scep.doors import Engine

CA_TYPE = "application/x-x509-ca-cert"
RA_TYPE = "application/x-x509-ca-ra-cert"
CHAIN_TYPE = "application/x-x509-ca-ra-cert-chain"
NEXT_TYPE = "application/x-x509-next-ca-cert"
_NO_CACHE = (("Cache-Control", "no-store"),)


class Distribution:
    """Answers GetCACaps, GetCACert, GetCACertChain and GetNextCACert."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def capabilities(self, alias: SCEPAlias) -> Reply:
        """One capability a line.

        **Source:** RFC 8894 section 3.5.2.
        """
        lines = alias.capabilities or self._capabilities(alias)
        return _reply("\n".join((*lines, "")).encode("ascii"), "text/plain")

    def _capabilities(self, alias: SCEPAlias) -> tuple[str, ...]:
        found = ["AES"]
        if alias.allow_des3:
            found.append("DES3")
        if alias.allow_sha1:
            found.append("SHA-1")
        # SHA-384 is no capability of the RFC. strongSwan 5.9.8 takes its place in the
        # list for that of AES and refuses AES without it; others ignore it.
        found += ["SHA-256", "SHA-384", "SHA-512", "POSTPKIOperation"]
        if alias.alias.renewal:
            found.append("Renewal")
            if alias.update_requests == "renew":
                found.append("Update")
        if self._engine.next_chain(alias.alias.authority):
            found.append("GetNextCACert")
        found.append("SCEPStandard")
        return tuple(found)

    async def certificates(self, alias: SCEPAlias) -> Reply:
        """The CA's certificate alone, or RA and CA certificates, the RA's first.

        **Source:** RFC 8894 section 4.2.1.
        """
        found = self._certificates(alias)
        if len(found) == 1 and alias.identity is ExchangeKind.CA:
            return _reply(found[0], CA_TYPE)
        return _reply(encode_certs_only(found), RA_TYPE)

    async def chain(self, alias: SCEPAlias) -> Reply:
        """The same as a chain, for clients of old drafts."""
        return _reply(encode_certs_only(self._certificates(alias)), CHAIN_TYPE)

    def _certificates(self, alias: SCEPAlias) -> tuple[bytes, ...]:
        identity = self._engine.exchange.get(alias.alias.authority, alias.identity)
        own = _own(identity)
        if alias.ca_certificates == "ra":
            return own
        chain = identity.chain
        if alias.ca_certificates == "without-root":
            chain = tuple(one for one in chain if not _is_root(one))
        return (*own, *chain)

    async def next_certificates(self, alias: SCEPAlias) -> Reply:
        """Certificates of the CA that will take over, signed by the current one.

        :raises PKIError: ``NOT_FOUND`` while there is none.

        **Source:** RFC 8894 section 4.7.
        """
        chain = self._engine.next_chain(alias.alias.authority)
        if not chain:
            raise PKIError(
                ErrorCode.NOT_FOUND,
                "there is no next CA yet",
                hint=f"pkid ca rollover {alias.alias.authority}",
            )
        identity = self._engine.exchange.get(alias.alias.authority, alias.identity)
        algorithm = signature_algorithm_for("rsa")
        certificate = Certificate.decode(identity.certificate)
        draft = draft_signed_data(
            encode_certs_only(chain),
            oids.ID_DATA,
            identifier_of(certificate),
            algorithm,
            certificates=(identity.certificate,),
        )
        signature = await identity.signer.sign_message(draft.to_be_signed, algorithm)
        return _reply(draft.complete(signature).encode_content_info(), NEXT_TYPE)


def _own(identity: ExchangeIdentity) -> tuple[bytes, ...]:
    """Certificates of who speaks: the one that signs before the one that decrypts."""
    if identity.certificate == identity.encryption_certificate:
        return (identity.certificate,)
    return (identity.certificate, identity.encryption_certificate)


def _is_root(octets: bytes) -> bool:
    return Certificate.decode(octets).is_self_issued


def _reply(body: bytes, content_type: str) -> Reply:
    return Reply(body=body, content_type=content_type, headers=_NO_CACHE)
