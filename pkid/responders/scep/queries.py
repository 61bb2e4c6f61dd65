"""CertPoll, GetCert and GetCRL: what asks after something that is there.

**Source:** RFC 8894 sections 3.3.3, 3.3.4, 4.4, 4.5 and 4.6; security requirement
SEC-27 (nobody lists other people's certificates).
"""

from __future__ import annotations

import hashlib

from pkid.asn1 import der
from pkid.asn1.cms.content import IssuerAndSerialNumber
from pkid.asn1.cms.signed import encode_certs_only
from pkid.asn1.names import Name
from pkid.engine.model import CertificateRecord, Issued, Outcome
from pkid.errors import ErrorCode, PKIError
from pkid.messages.scep import IssuerAndSubject, PKIStatus
from pkid.responders.scep.answers import Answers, certificates_content
from pkid.responders.scep.doors import Engine
from pkid.responders.scep.requests import (
    PROTOCOL,
    Answered,
    Opened,
    Signed,
    SilentError,
)


class Queries:
    """Answers what issues nothing."""

    def __init__(self, engine: Engine, answers: Answers) -> None:
        self._engine = engine
        self._answers = answers

    # --- polling -----------------------------------------------------------------

    async def poll(self, opened: Opened) -> Answered:
        """What became of a request: PENDING still, the certificate, or the refusal.

        It is found by transactionID and the key that signed both; the names in the
        poll decide nothing, but they must be readable.

        :raises PKIError: ``BAD_CERTIFICATE_ID`` for a transaction that is not there,
            ``REJECTED``.
        """
        signed = opened.signed
        _read_poll(opened.content)
        rows = await self._engine.find_transactions_by_id(
            PROTOCOL, signed.alias.name, signed.transaction
        )
        if not rows:
            raise PKIError(
                ErrorCode.BAD_CERTIFICATE_ID, "no request of yours is known by this id"
            )
        newest = max(rows, key=lambda row: row.created)
        return await self.answer_outcome(
            opened, await self._engine.collect(newest.key), repeated=True
        )

    async def answer_outcome(
        self, opened: Opened, outcome: Outcome, *, repeated: bool, password: bytes = b""
    ) -> Answered:
        """The answer that an outcome gets."""
        if not isinstance(outcome, Issued):
            return await self._answers.pending(opened.signed.received)
        content = certificates_content(opened.signed.alias, outcome.der, outcome.chain)
        octets = await self._answers.success(opened, content, password=password)
        return Answered(
            octets=octets,
            status=PKIStatus.SUCCESS,
            serial=f"{outcome.certificate.reference.serial:x}",
            repeated=repeated,
        )

    # --- certificates and CRLs -----------------------------------------------------

    async def certificate(self, opened: Opened) -> Answered:
        """A certificate of the requester's own, by issuer and serial number.

        :raises PKIError: ``BAD_CERTIFICATE_ID`` for one that is not there or is another
            one's, which look the same.
        """
        issuer, serial = _read_identifier(opened.content)
        record = await self._engine.find_certificate_by_issuer(issuer, serial)
        if record is None or not _is_own(record, opened.signed):
            raise PKIError(
                ErrorCode.BAD_CERTIFICATE_ID, "no certificate of yours has this number"
            )
        octets = await self._engine.certificate_der(record.reference)
        chain = self._engine.chain(opened.signed.alias.alias.authority)
        content = certificates_content(opened.signed.alias, octets, chain)
        return Answered(
            octets=await self._answers.success(opened, content),
            status=PKIStatus.SUCCESS,
            serial=f"{record.reference.serial:x}",
        )

    async def revocation_list(self, opened: Opened) -> Answered:
        """The CRL of the issuer that is named.

        :raises PKIError: ``BAD_CERTIFICATE_ID`` when it is not this entrance's CA.
        """
        issuer, _ = _read_identifier(opened.content)
        authority = opened.signed.alias.alias.authority
        if not issuer.matches(self._engine.authority_subject(authority)):
            raise PKIError(
                ErrorCode.BAD_CERTIFICATE_ID, "this issuer's CRL is not given out here"
            )
        crl = await self._engine.latest_crl(authority)
        content = encode_certs_only((), (crl.der,))
        return Answered(
            octets=await self._answers.success(opened, content),
            status=PKIStatus.SUCCESS,
        )


def _is_own(record: CertificateRecord, signed: Signed) -> bool:
    """Whether the requester holds this certificate's key, or is its owner."""
    if record.spki_hash == hashlib.sha256(signed.signer.spki).digest():
        return True
    requester = signed.requester
    return (
        requester is not None
        and requester.entity is not None
        and requester.entity == record.entity
    )


def _read_poll(content: bytes) -> None:
    try:
        IssuerAndSubject.decode(content)
    except PKIError as error:
        raise SilentError(error.detail) from None


def _read_identifier(content: bytes) -> tuple[Name, int]:
    """Issuer and serial number.

    :raises SilentError: it may be that the content was not decrypted rightly.
    """
    try:
        found = IssuerAndSerialNumber.decode(der.single(content, der.SEQUENCE))
        return Name.decode(found.issuer), found.serial
    except PKIError as error:
        raise SilentError(error.detail) from None
