"""Revocation passphrases that come in a genm or in any header.

**Source:** RFC 9810 section 5.3.19.9 and appendix B; RFC 2985 section 5.5.2 for
``localKeyId``.
"""

from __future__ import annotations

from typing import Final

from pkid.asn1 import der
from pkid.asn1.cms.content import Attribute
from pkid.asn1.cms.enveloped import EnvelopedData
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.header import CMP2021, InfoTypeAndValue
from pkid.messages.cmp.infotypes import REV_PASSPHRASE
from pkid.messages.encryptedkeys import EnvelopedKey
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.possession import KeyProofs
from pkid.responders.cmp.requests import Request

LOCAL_KEY_ID: Final = "1.2.840.113549.1.9.21"
#: Shorter ones are guessed.
MIN_OCTETS: Final = 8
MAX_OCTETS: Final = 256


class RevocationPassphrases:
    """Opens passphrases and has them kept.

    :param keys: opens what is encrypted for us.
    """

    def __init__(self, engine: Engine, keys: KeyProofs) -> None:
        self._engine = engine
        self._keys = keys

    async def keep_header(self, request: Request) -> None:
        """Keep the passphrase in a message's header, if one is there.

        :raises PKIError: as `keep`.
        """
        for info in request.header.general_info:
            if info.oid == REV_PASSPHRASE.oid:
                await self.keep(request, info)

    async def keep(self, request: Request, info: InfoTypeAndValue) -> None:
        """Keep a passphrase of the requester.

        :raises PKIError: ``BAD_REQUEST`` when there is none, it is in the form of
            version 2 or not encrypted to us, or too short; ``NOT_AUTHORIZED``;
            ``BAD_MESSAGE_CHECK`` when it cannot be decrypted.
        """
        key = REV_PASSPHRASE.read(info)
        if not isinstance(key, EnvelopedKey) or request.header.pvno < CMP2021:
            raise PKIError(
                ErrorCode.BAD_REQUEST, "a passphrase comes as EnvelopedData (pvno 3)"
            )
        passphrase = await self._keys.open_data(request, key)
        if not MIN_OCTETS <= len(passphrase) <= MAX_OCTETS:
            raise PKIError(
                ErrorCode.BAD_REQUEST,
                f"a passphrase has {MIN_OCTETS} to {MAX_OCTETS} octets",
            )
        await self._engine.passphrases.keep(
            request.requester,
            passphrase,
            _key_identifier(key),
            request.context,
            request.alias.name,
        )


def _key_identifier(key: EnvelopedKey) -> str | None:
    """``localKeyId`` of the envelope; what it names, its owner will say again.

    :raises PKIError: ``BAD_REQUEST`` for one that is no text.
    """
    octets = EnvelopedData.decode(key.enveloped).unprotected_attributes_octets
    for contents in der.sequences(octets or b"", 16):
        attribute = Attribute.decode(contents)
        if attribute.oid == LOCAL_KEY_ID and len(attribute.values) == 1:
            value = der.single(attribute.values[0], der.OCTET_STRING)
            try:
                text = value.decode("utf-8")
            except UnicodeDecodeError:
                text = ""
            if not text or not text.isprintable():
                raise PKIError(ErrorCode.BAD_REQUEST, "localKeyId must be a text")
            return text
    return None
