"""The identities to which clients encrypt what they hand over, by RSA.

Beside those for key agreement and encapsulation, which protect messages too: most
clients that send a private key or a passphrase know RSA only. The key decrypts and
signs nothing.

**Source:** RFC 9810 sections 5.2.2, 5.2.8.3.1 and 5.3.19.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkid.asn1 import oids
from pkid.asn1.names import Name
from pkid.engine.authorities import Authorities
from pkid.engine.creation import Creation, ServiceCertificate
from pkid.engine.model import RequestContext
from pkid.engine.ports import Decrypter, KeyStore

#: Certificate profile of these identities.
PROFILE: Final = "key-reception"
KEY_SPEC: Final = "rsa:3072"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceptionIdentity:
    """What opens things that were encrypted to an authority.

    :ivar chain: above ``certificate``: issuing CA first, root last.
    """

    key: Decrypter
    certificate: bytes
    chain: tuple[bytes, ...]


class KeyReceivers:
    """Makes and holds these identities."""

    def __init__(
        self, *, keys: KeyStore, authorities: Authorities, creation: Creation
    ) -> None:
        self._keys = keys
        self._authorities = authorities
        self._creation = creation
        self._identities: dict[str, ReceptionIdentity] = {}

    async def prepare(
        self, authority: str, context: RequestContext
    ) -> ReceptionIdentity:
        """Give an authority what opens private keys, or a fresh one in time.

        :raises PKIError: ``UNAVAILABLE`` when there is no such authority.
        """
        issuer = self._authorities.get(authority)
        title = ((oids.ID_AT_COMMON_NAME, f"{authority} key reception"),)
        wanted = ServiceCertificate(
            name=f"key-reception-{authority}",
            authority=authority,
            profile=PROFILE,
            subject=Name.of([*issuer.subject.rdns[:-1], *Name.build([title]).rdns]),
            key_spec=KEY_SPEC,
            purpose="decryption",
        )
        service = await self._creation.issue_service_certificate(wanted, context)
        identity = ReceptionIdentity(
            key=await self._keys.decrypter(f"service-{wanted.name}"),
            certificate=service.certificate,
            chain=service.chain,
        )
        self._identities[authority] = identity
        return identity

    async def public_key_of(self, private_key: bytes) -> bytes:
        """SubjectPublicKeyInfo of a private key that was handed over.

        :param private_key: PKCS #8, not encrypted.
        :raises PKIError: ``BAD_REQUEST`` when it is none.
        """
        return await self._keys.public_key_of(private_key)

    def find(self, authority: str) -> ReceptionIdentity | None:
        """What opens things encrypted to an authority; None when nothing does."""
        return self._identities.get(authority)
