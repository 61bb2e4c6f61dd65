"""Who sent a full CMC request: its signer, who knows a secret, or the connection.

A signature with a certificate of ours, or of a vendor, says who asks; so does an
identity proof by an enrolment code. Where the message says nothing, TLS and HTTP do, as
for every other operation. What both say must fit together.

**Source:** RFC 5272 sections 3.2.1.3.4, 6.2 and 6.3; RFC 7030 section 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pkid.asn1 import der, oids
from pkid.asn1.cms.signed import SignedData, SignerInfo
from pkid.crypto.certificates import Certificate, allows_digital_signature
from pkid.crypto.publickeys import PublicKeyInfo, decode_spki
from pkid.crypto.signeddata import is_signer, verify_signed_data
from pkid.crypto.witnesses import verify_witness
from pkid.engine.credentials import AuthenticationFailure, SharedSecret
from pkid.engine.model import RequestContext, Requester, RequesterKind
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmc import PKIData, TaggedRequest, Witness
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.base import Exchange
from pkid.responders.est.aliases import ESTAlias
from pkid.responders.est.authentication import (
    KIND,
    Identities,
    Proven,
    is_user,
)
from pkid.responders.est.doors import Engine


class BadIdentityError(PKIError):
    """An identity proof or a link to it that does not match: badIdentity."""

    def __init__(self, hint: str) -> None:
        super().__init__(
            ErrorCode.NOT_AUTHORIZED, "the identity is not proven", hint=hint
        )


@dataclass(frozen=True, slots=True)
class Envelope:
    """A full request, read and not yet believed."""

    signed: SignedData
    data: PKIData


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent it.

    :ivar covers_controls: whether the proof is about the controls too. An identity
        proof without a signature is about the certification requests alone.
    """

    proven: Proven
    covers_controls: bool = True


class Senders:
    """Finds out who sent a full request."""

    def __init__(self, engine: Engine, identities: Identities) -> None:
        self._engine = engine
        self._identities = identities

    async def find(
        self,
        alias: ESTAlias,
        exchange: Exchange,
        context: RequestContext,
        envelope: Envelope,
    ) -> Sender:
        """Who sent it.

        :raises PKIError: ``BAD_MESSAGE_CHECK`` for a wrong signature, and all that
            `Identities.prove` and the engine's `identify` raise.
        """
        signer = await self._signer(alias, envelope)
        if alias.both or signer is None:
            sender = await self._proof(alias, context, envelope)
            if sender is None or alias.both:
                proven = await self._identities.prove(alias, exchange, context)
                sender = Sender(proven)
            if signer is not None:
                _check_same(signer, sender.proven.requester)
            return sender
        await self._check_connection(alias, exchange, signer)
        return Sender(Proven(requester=signer))

    # --- by signature ------------------------------------------------------------

    async def _signer(self, alias: ESTAlias, envelope: Envelope) -> Requester | None:
        """The holder of the certificate that signed; None when no certificate did."""
        signed = envelope.signed
        if not signed.signer_infos:
            return None
        if len(signed.signer_infos) != 1:
            raise PKIError(ErrorCode.BAD_REQUEST, "the request has several signatures")
        (info,) = signed.signer_infos
        certificates = [Certificate.decode(one) for one in signed.x509_certificates]
        for certificate in certificates:
            if is_signer(info, certificate):
                _verify(signed, info, certificate.public_key_info)
                return await self._holder(alias, certificate, certificates)
        key = _requested_key(envelope.data.requests, info)
        if key is None:
            raise PKIError(
                ErrorCode.BAD_MESSAGE_CHECK, "the signer's certificate is missing"
            )
        # Signed with a key that is to be certified: whole, but nobody's word yet.
        _verify(signed, info, key)
        return None

    async def _holder(
        self,
        alias: ESTAlias,
        certificate: Certificate,
        certificates: Sequence[Certificate],
    ) -> Requester:
        if not allows_digital_signature(certificate):
            raise PKIError(
                ErrorCode.BAD_MESSAGE_CHECK,
                "the signer's keyUsage lacks digitalSignature",
            )
        others = [one.der for one in certificates if one != certificate]
        return await self._engine.identify(alias.alias, certificate.der, others)

    async def _check_connection(
        self, alias: ESTAlias, exchange: Exchange, signer: Requester
    ) -> None:
        """A certificate of the connection that belongs to another is an objection.

        A registration authority passes on what others signed.
        """
        leaf = exchange.peer.certificate
        if leaf is None or leaf == signer.certificate_der:
            return
        holder = await self._engine.identify(alias.alias, leaf, exchange.peer.chain)
        if holder.kind is not RequesterKind.REGISTRATION_AUTHORITY:
            _check_same(signer, holder)

    # --- by a secret -------------------------------------------------------------

    async def _proof(
        self, alias: ESTAlias, context: RequestContext, envelope: Envelope
    ) -> Sender | None:
        data = envelope.data
        witness = _identity_proof(data)
        if witness is None:
            return None
        name = _identification(data)
        if not alias.takes_passwords:
            raise BadIdentityError(f'"mac" in authenticate of alias {alias.name}')
        shared = await self._engine.find_secret(KIND, name, alias.name)
        try:
            verify_witness(
                data.requests_octets,
                witness.value,
                hash_algorithm=witness.digest,
                mac_algorithm=witness.mac,
                secret=b"" if shared is None else shared.secret,
                identification=name.encode(),
            )
        except PKIError as error:
            raise await self._failed(alias, context, name, shared) from error
        if shared is None:
            raise await self._failed(alias, context, name, shared)
        proven = Proven(
            requester=shared.requester, usable=shared.usable, hint=shared.hint
        )
        _check_links(data, shared.secret)
        signed = bool(envelope.signed.signer_infos)
        return Sender(proven, covers_controls=signed and shared.usable)

    async def _failed(
        self,
        alias: ESTAlias,
        context: RequestContext,
        name: str,
        shared: SharedSecret | None,
    ) -> PKIError:
        hint = f"wrong secret for {name!r}"
        if shared is None:
            hint = f"no enrolment code of {name!r}: pkid secret list"
        error = BadIdentityError(hint)
        failure = AuthenticationFailure(
            error=error,
            context=context,
            alias=alias.name,
            actor=name,
            credential=None if shared is None else shared.credential,
        )
        await self._engine.report_failure(failure)
        return error


def _verify(signed: SignedData, info: SignerInfo, key: PublicKeyInfo) -> None:
    try:
        verify_signed_data(signed, info, key)
    except PKIError as error:
        if error.code is not ErrorCode.BAD_TEMPLATE:
            raise
        raise PKIError(ErrorCode.BAD_ALGORITHM, error.detail) from error


def _requested_key(
    requests: Sequence[TaggedRequest], info: SignerInfo
) -> PublicKeyInfo | None:
    """The key to be certified that the signer names by its identifier."""
    for request in requests:
        spki = spki_of(request)
        if spki is None:
            continue
        key = decode_spki(spki)
        if info.sid.encode() == der.encode(der.context(0), key.key_id):
            return key
    return None


def spki_of(request: TaggedRequest) -> bytes | None:
    """The key that a request is about."""
    body = request.body
    if body is None:
        return None
    if isinstance(body, CertificationRequest):
        return body.spki
    return body.cert_req.cert_template.spki


def _check_same(signer: Requester, holder: Requester) -> None:
    if holder.certificate_der == signer.certificate_der:
        return
    if signer.entity is None or signer.entity != holder.entity:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "the request was signed by another than who is connected",
        )


def _identity_proof(data: PKIData) -> Witness | None:
    control = data.control(oids.ID_CMC_IDENTITY_PROOF_V2)
    if control is not None:
        return Witness.decode(control.value)
    control = data.control(oids.ID_CMC_IDENTITY_PROOF)
    return None if control is None else Witness.decode_first(control.value)


def _identification(data: PKIData) -> str:
    control = data.control(oids.ID_CMC_IDENTIFICATION)
    if control is None:
        raise BadIdentityError("the request has no identification control")
    name = der.decode_utf8(der.single(control.value, der.UTF8_STRING))
    if not is_user(name):
        raise BadIdentityError("the identification is no name of a secret")
    return name


def _check_links(data: PKIData, secret: bytes) -> None:
    """Each request must carry a witness of the secret, where a random is given.

    :raises PKIError: badIdentity.

    **Source:** RFC 5272 section 6.3.1.
    """
    control = data.control(oids.ID_CMC_POP_LINK_RANDOM)
    if control is None:
        return
    for request in data.requests:
        witness = _link_of(request)
        if witness is None:
            raise BadIdentityError("a request lacks the popLinkWitness")
        try:
            verify_witness(
                control.octets,
                witness.value,
                hash_algorithm=witness.digest,
                mac_algorithm=witness.mac,
                secret=secret,
            )
        except PKIError as error:
            raise BadIdentityError("a popLinkWitness does not match") from error


def _link_of(request: TaggedRequest) -> Witness | None:
    second = _attribute_of(request, oids.ID_CMC_POP_LINK_WITNESS_V2)
    if second is not None:
        return Witness.decode(second)
    first = _attribute_of(request, oids.ID_CMC_POP_LINK_WITNESS)
    return None if first is None else Witness.decode_first(first)


def _attribute_of(request: TaggedRequest, oid: str) -> bytes | None:
    body = request.body
    if body is None:
        return None
    if not isinstance(body, CertificationRequest):
        return body.cert_req.control(oid)
    for attribute in body.attributes:
        if attribute.oid == oid and len(attribute.values) == 1:
            return attribute.values[0]
    return None
