"""Private keys that are to be archived with their certificate.

A client asks for it by ``pkiArchiveOptions``: it hands its key over, encrypted for us,
or wants the one archived that we make. A key that was handed over as proof of
possession is archived too, where an archive is kept: that is what this way is for.

**Source:** RFC 4211 section 6.4; RFC 9810 section 5.2.8.3.1.
"""

from __future__ import annotations

import hmac
from dataclasses import replace

from pkid.engine.model import GeneratedPossession, ProofOfPossession
from pkid.errors import ErrorCode, PKIError
from pkid.messages.controls import (
    PKI_ARCHIVE_OPTIONS,
    ArchiveRemGenPrivKey,
    PKIArchiveOptions,
)
from pkid.messages.crmf import CertReqMsg
from pkid.messages.encryptedkeys import EncryptedValue, EnvelopedKey
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.possession import KeyProofs, Shown
from pkid.responders.cmp.requests import Request


class Archiving:
    """Reads the wish to have a key archived, and seals what comes."""

    def __init__(self, engine: Engine, key_proofs: KeyProofs) -> None:
        self._engine = engine
        self._key_proofs = key_proofs

    async def sealed(
        self, request: Request, message: CertReqMsg, shown: Shown | None
    ) -> bytes:
        """The private key that came along, sealed for the archive; b"" for none.

        :param shown: the key as it proved possession, if it did.
        :raises PKIError: ``BAD_REQUEST`` for a wish that is not served here or a key
            that is not for us; ``BAD_TEMPLATE`` when it is not the key to certify.
        """
        options = PKI_ARCHIVE_OPTIONS.find(message.cert_req.controls)
        private_key = b"" if shown is None else shown.private_key
        if isinstance(options, ArchiveRemGenPrivKey):
            _check_made_here(request, message, options)
        elif options is not None:
            private_key = await self._handed_over(request, message, options)
        elif not request.alias.alias.key_archive:
            return b""
        spki = message.cert_req.cert_template.spki
        if not private_key or spki is None:
            return b""
        return self._engine.key_archive.seal(
            request.alias.alias.authority, spki, private_key
        )

    async def _handed_over(
        self, request: Request, message: CertReqMsg, options: PKIArchiveOptions
    ) -> bytes:
        """The key of ``encryptedPrivKey``, compared with the key to certify."""
        _check_kept(request)
        spki = message.cert_req.cert_template.spki
        try:
            private_key = await self._opened(request, options)
            public = await self._engine.key_receivers.public_key_of(private_key)
        except PKIError as error:
            raise _not_ours(error) from error
        if spki is None or not hmac.compare_digest(public, spki):
            raise _not_ours()
        return private_key

    async def _opened(self, request: Request, options: PKIArchiveOptions) -> bytes:
        if isinstance(options, EnvelopedKey):
            return (await self._key_proofs.open_key(request, options)).private_key
        if isinstance(options, EncryptedValue) and request.alias.encrypted_value:
            return await self._key_proofs.open_value(request, options)
        raise PKIError(ErrorCode.BAD_REQUEST, "pkiArchiveOptions: send EnvelopedData")


def with_archive_wish(
    proof: ProofOfPossession, message: CertReqMsg
) -> ProofOfPossession:
    """The wish for a key, with that to have it archived."""
    options = PKI_ARCHIVE_OPTIONS.find(message.cert_req.controls)
    wanted = isinstance(options, ArchiveRemGenPrivKey) and options.wanted
    if not wanted or not isinstance(proof, GeneratedPossession):
        return proof
    return replace(proof, archive=True)


def _check_made_here(
    request: Request, message: CertReqMsg, options: ArchiveRemGenPrivKey
) -> None:
    if not options.wanted:
        return
    _check_kept(request)
    if message.popo is not None:
        raise PKIError(
            ErrorCode.BAD_REQUEST, "archiveRemGenPrivKey is for keys that are made here"
        )


def _check_kept(request: Request) -> None:
    alias = request.alias.alias
    if not alias.key_archive or alias.upstream:
        raise PKIError(
            ErrorCode.BAD_REQUEST,
            "private keys are not archived here",
            hint=f"key_archive of alias {alias.name}",
        )


def _not_ours(cause: PKIError | None = None) -> PKIError:
    """One text whatever is wrong with a key that came encrypted."""
    return PKIError(
        ErrorCode.BAD_REQUEST,
        "the key for the archive cannot be had, or is another one",
        hint=None if cause is None else cause.detail,
    )
