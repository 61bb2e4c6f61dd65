"""ip, cp and kup: an outcome of the engine in CMP's words.

**Source:** RFC 9810 sections 5.3.2 to 5.3.6, 5.1.1.1 and 5.1.1.2; RFC 9483 section 4.1.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from pkid.asn1 import der, oids
from pkid.crypto.algorithms import digest, digest_for_certificate_hash
from pkid.crypto.signatures import SignedStructure
from pkid.engine.model import Issued, Outcome, Pending, RequesterKind
from pkid.errors import PKIError
from pkid.messages.cmp.body import (
    BodyType,
    CertRepMessage,
    CertResponse,
)
from pkid.messages.cmp.header import CMP2021, InfoTypeAndValue
from pkid.messages.cmp.keypairs import CertifiedKeyPair
from pkid.messages.cmp.status import PKIStatus, PKIStatusInfo
from pkid.messages.encryptedkeys import EncryptedKey
from pkid.responders.cmp.aliases import CA_PUBS_ALWAYS, PLAIN_ACCEPTED, CMPAlias
from pkid.responders.cmp.answers import Draft, Sealed, without_root
from pkid.responders.cmp.failures import rejection
from pkid.responders.cmp.headers import Wishes
from pkid.responders.cmp.requests import MACProtection, Request
from pkid.responders.cmp.transactions import (
    KeptAnswer,
    TransactionState,
    make_state,
)
from pkid.responders.cmp.withholding import encrypted_certificate

RESPONSE_TYPES: Final = {
    BodyType.IR: BodyType.IP,
    BodyType.CR: BodyType.CP,
    BodyType.P10CR: BodyType.CP,
    BodyType.KUR: BodyType.KUP,
    BodyType.CCR: BodyType.CCP,
}
_IMPLICIT_CONFIRM: Final = InfoTypeAndValue(oids.ID_IT_IMPLICIT_CONFIRM, der.NULL)
_ACCEPTED: Final = PKIStatusInfo(PKIStatus.ACCEPTED)
_MODIFIED: Final = PKIStatusInfo(
    PKIStatus.GRANTED_WITH_MODS, ("the certificate differs from what was asked",)
)


def opening_state(
    request: Request, cert_req_id: int, wishes: Wishes
) -> TransactionState:
    """The state of a transaction that this request opens."""
    header, body_type = request.header, request.message.body_type
    by_mac = isinstance(request.proven.protection, MACProtection)
    return make_state(
        body_type=BodyType.IR if body_type is None else body_type,
        pvno=header.pvno,
        sender=header.sender,
        sender_kid=header.sender_kid,
        mac_algorithm=header.protection_alg if by_mac else None,
        client_nonces=(request.sender_nonce,),
        cert_req_id=cert_req_id,
        implicit=wishes.implicit_confirm and request.alias.implicit_confirm,
        # An ir signed with a certificate of this PKI is treated as a cr.
        ca_pubs=request.alias.ca_pubs
        and body_type is BodyType.IR
        and (
            request.requester.kind is not RequesterKind.CERTIFICATE
            or CA_PUBS_ALWAYS in request.alias.quirks
        ),
    )


def concluded(
    state: TransactionState, outcome: Outcome, request_hash: bytes, sealed: Sealed
) -> TransactionState:
    """The state once the opening request was answered."""
    cert_hash = hash_of(outcome) if isinstance(outcome, Issued) else b""
    # Spelt out, because `replace` takes longer than all the rest of it.
    return make_state(
        body_type=state.body_type,
        pvno=state.pvno,
        sender=state.sender,
        sender_kid=state.sender_kid,
        mac_algorithm=state.mac_algorithm,
        client_nonces=state.client_nonces,
        cert_req_id=state.cert_req_id,
        implicit=state.implicit,
        ca_pubs=state.ca_pubs,
        delivered=bool(cert_hash),
        cert_hash=cert_hash,
        withheld=isinstance(outcome, Issued) and outcome.withheld,
        our_nonce=sealed.nonce,
        answers=(KeptAnswer(request_hash, sealed.octets),),
    )


def with_outcome(state: TransactionState, outcome: Outcome) -> TransactionState:
    """The state once this outcome was given to the client."""
    if isinstance(outcome, Pending):
        return state
    return replace(
        state,
        delivered=True,
        cert_hash=hash_of(outcome),
        withheld=outcome.withheld,
    )


def confirm_from(
    alias: CMPAlias, outcome: Outcome, now: datetime
) -> tuple[Outcome, datetime | None]:
    """Let the time to confirm run from now: the client has only now come for it.

    :returns: the outcome, and the new deadline of the transaction if there is one.
    """
    if isinstance(outcome, Pending) or outcome.confirm_by is None:
        return outcome, None
    due = (now + alias.confirm_wait).replace(microsecond=0)
    return replace(outcome, confirm_by=due), due


def certification(
    alias: CMPAlias,
    state: TransactionState,
    outcome: Outcome,
    private_key: EncryptedKey | None = None,
) -> Draft:
    """The answer to what opened the transaction.

    :param outcome: issued, or pending: status waiting.
    :param private_key: that was made for it, encrypted.
    """
    response_type = RESPONSE_TYPES[state.body_type]
    response = response_of(
        alias, state.cert_req_id, outcome, pvno=state.pvno, private_key=private_key
    )
    if isinstance(outcome, Pending):
        return Draft(body_type=response_type, body=CertRepMessage((response,)))
    ca_pubs = outcome.chain[-1:] if state.ca_pubs else ()
    return Draft(
        body_type=response_type,
        body=CertRepMessage((response,), ca_pubs),
        general_info=confirmation_info(outcome),
        certificates=without_root(outcome.chain, alias),
    )


def response_of(
    alias: CMPAlias,
    cert_req_id: int,
    outcome: Outcome,
    *,
    pvno: int = CMP2021,
    private_key: EncryptedKey | None = None,
) -> CertResponse:
    """The answer to one request for a certificate.

    :param outcome: issued, or pending: status waiting.
    :param pvno: of the request: how what is encrypted is written.
    :param private_key: that was made for it, encrypted.
    """
    if isinstance(outcome, Pending):
        return CertResponse(
            cert_req_id, PKIStatusInfo(PKIStatus.WAITING, (outcome.reason,))
        )
    return CertResponse(
        cert_req_id,
        _status_of(alias, outcome),
        _pair_of(alias, outcome, pvno, private_key),
    )


def _pair_of(
    alias: CMPAlias, issued: Issued, pvno: int, private_key: EncryptedKey | None
) -> CertifiedKeyPair:
    if issued.withheld:
        return CertifiedKeyPair(
            encrypted_cert=encrypted_certificate(issued.der, pvno, alias)
        )
    return CertifiedKeyPair(certificate=issued.der, private_key=private_key)


def _status_of(alias: CMPAlias, outcome: Issued) -> PKIStatusInfo:
    if outcome.modified and PLAIN_ACCEPTED not in alias.quirks:
        return _MODIFIED
    return _ACCEPTED


def refusal(opening: BodyType, cert_req_ids: tuple[int, ...], error: PKIError) -> Draft:
    """The answer that refuses every certificate asked for."""
    status = rejection(error)
    return Draft(
        body_type=RESPONSE_TYPES[opening],
        body=CertRepMessage(
            tuple(CertResponse(number, status) for number in cert_req_ids)
        ),
    )


def hash_of(issued: Issued) -> bytes:
    """``certHash`` of what was issued.

    The fingerprint that the record holds already, where SHA-256 signed it.
    """
    algorithm = issued.algorithm
    if algorithm is not None and digest_for_certificate_hash(algorithm) == "sha256":
        return issued.certificate.fingerprint
    return certificate_hash(issued.der)


def certificate_hash(certificate: bytes) -> bytes:
    """``certHash`` of a certificate: with the digest of its own signature.

    **Source:** RFC 9810 section 5.3.18; RFC 9481 section 3.3.
    """
    algorithm = SignedStructure.decode(certificate).algorithm
    return digest(digest_for_certificate_hash(algorithm), certificate)


def confirmation_info(outcome: Issued) -> tuple[InfoTypeAndValue, ...]:
    """Implicit confirmation granted, or how long certConf is awaited."""
    if outcome.confirm_by is None:
        return (_IMPLICIT_CONFIRM,)
    time = der.generalized_time(outcome.confirm_by)
    return (InfoTypeAndValue(oids.ID_IT_CONFIRM_WAIT_TIME, time),)
