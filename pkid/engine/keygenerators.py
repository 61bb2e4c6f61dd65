"""The identities that sign keys which were made for others: one for each authority.

Their certificates carry the extended key usage cmKGA, so that whoever gets a key can
see that it comes from who may make keys.

**Source:** RFC 9810 sections 4.5 and 5.2.2; RFC 9483 section 4.1.6.
"""

from __future__ import annotations

from typing import Final

from pkid.asn1 import oids
from pkid.asn1.names import Name
from pkid.crypto.certificates import Certificate, subject_key_identifier
from pkid.engine.authorities import Authorities, MessageIdentity
from pkid.engine.creation import Creation, ServiceCertificate
from pkid.engine.model import RequestContext
from pkid.engine.ports import KeyStore
from pkid.errors import ErrorCode, PKIError

#: Certificate profile of these identities.
PROFILE: Final = "key-generation"


class KeyGenerators:
    """Makes and holds the key generation identities."""

    def __init__(
        self, *, keys: KeyStore, authorities: Authorities, creation: Creation
    ) -> None:
        self._keys = keys
        self._authorities = authorities
        self._creation = creation
        self._identities: dict[str, MessageIdentity] = {}

    async def prepare(self, authority: str, context: RequestContext) -> MessageIdentity:
        """Give an authority the identity that signs keys, or a fresh one in time.

        :raises PKIError: ``UNAVAILABLE`` when there is no such authority.
        """
        issuer = self._authorities.get(authority)
        title = ((oids.ID_AT_COMMON_NAME, f"{authority} key generation"),)
        wanted = ServiceCertificate(
            name=f"key-generation-{authority}",
            authority=authority,
            profile=PROFILE,
            subject=Name.of([*issuer.subject.rdns[:-1], *Name.build([title]).rdns]),
            purpose="message-signing",
        )
        service = await self._creation.issue_service_certificate(wanted, context)
        certificate = Certificate.decode(service.certificate)
        identity = MessageIdentity(
            signer=await self._keys.message_signer(f"service-{wanted.name}"),
            certificate=service.certificate,
            chain=service.chain,
            subject=certificate.subject,
            subject_key_id=subject_key_identifier(certificate) or b"",
        )
        self._identities[authority] = identity
        return identity

    def identity(self, authority: str) -> MessageIdentity:
        """What signs the keys that are made for an authority's entities.

        :raises PKIError: ``UNAVAILABLE`` before `prepare`.
        """
        found = self._identities.get(authority)
        if found is None:
            raise PKIError(
                ErrorCode.UNAVAILABLE,
                "the key generation authority is not available",
                hint=f"authority {authority} has no key generation certificate",
            )
        return found
