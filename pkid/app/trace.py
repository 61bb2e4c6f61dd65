"""A recorded CMP message or TCP stream as something to read.

Pure. Values that are secrets by their nature (registration tokens, authenticators) are
masked; a MAC or a signature is shown by its length.

**Source:** ENG-51; RFC 9810 section 5, RFC 2510 section 5.2.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any, Final

from pkid.app import views
from pkid.app.tracebodies import RARE_BODIES, show_certificate, show_status
from pkid.app.views import View
from pkid.asn1 import oids
from pkid.asn1.names import Name
from pkid.asn1.x509 import AlgorithmIdentifier, Extension
from pkid.crypto.certificates import Certificate
from pkid.crypto.keyedmac import is_keyed_mac
from pkid.crypto.mac import decode_mac_parameters, is_mac_algorithm
from pkid.crypto.publickeys import decode_spki
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import (
    Body,
    BodyType,
    CertConfirmContent,
    CertRepMessage,
    CertReqMessages,
    ErrorMsgContent,
    GenMsgContent,
    PollRepContent,
    PollReqContent,
)
from pkid.messages.cmp.framing import Fault, Foreign, Record, RecordReader
from pkid.messages.cmp.header import PKIHeader
from pkid.messages.cmp.message import PKIMessage, decode_body
from pkid.messages.cmp.nested import NestedMessageContent
from pkid.messages.cmp.revocation import RevRepContent, RevReqContent
from pkid.messages.crmf import CertReqMsg, CertTemplate
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.cmp.strict import Examined, deviations

MASK: Final = "***"
MAX_DEPTH: Final = 4
_SECRET_TYPES: Final = frozenset(
    (
        oids.ID_REG_CTRL_REG_TOKEN,
        oids.ID_REG_CTRL_AUTHENTICATOR,
        oids.ID_IT_REV_PASSPHRASE,
    )
)
_REQUESTS: Final = frozenset(
    (
        BodyType.IR,
        BodyType.CR,
        BodyType.P10CR,
        BodyType.KUR,
        BodyType.RR,
        BodyType.GENM,
        BodyType.CERT_CONF,
        BodyType.POLL_REQ,
    )
)
_NAMES: Final = {
    value: name.removeprefix("ID_").lower().replace("_", "-")
    for name, value in vars(oids).items()
    if name.startswith("ID_") and isinstance(value, str)
}
_PEM: Final = re.compile(rb"-----BEGIN [^-]+-----(.+?)-----END [^-]+-----", re.DOTALL)
_TEXT: Final = re.compile(rb"[A-Za-z0-9+/=\s]+")


def decode_trace(octets: bytes) -> list[View]:
    """Everything in a recording: TCP records, messages, or one bare message.

    :param octets: DER, PEM, base64, or a TCP stream.
    :raises PKIError: ``MALFORMED`` when it is none of these.
    """
    octets = _unwrapped(octets)
    reader = RecordReader()
    found: list[View] = []
    for event in reader.feed(octets):
        match event:
            case Record():
                found.append(_record(event))
            case Foreign():
                found.append({"stream": f"another protocol: {event.protocol.name}"})
            case Fault():
                found.append({"stream": f"broken: {event.text}"})
    if reader.pending:
        found.append({"stream": f"{reader.pending} octets of an incomplete record"})
    if not found:
        raise PKIError(ErrorCode.MALFORMED, "neither a CMP message nor a TCP stream")
    return found


def _unwrapped(octets: bytes) -> bytes:
    pem = _PEM.search(octets)
    text = pem.group(1) if pem else octets
    if pem or (_TEXT.fullmatch(octets) and octets[:1] != b"\x30"):
        try:
            return base64.b64decode(b"".join(text.split()), validate=True)
        except ValueError:
            return octets
    return octets


def _record(record: Record) -> View:
    view: View = {
        "framing": record.framing.name.lower(),
        "type": record.type.name.lower(),
        "octets": len(record.value),
    }
    if not record.carries_message:
        return {**view, "value": record.value.hex()}
    try:
        return {**view, **decode_message(PKIMessage.decode(record.value))}
    except PKIError as error:
        return {**view, "fault": error.detail}


def decode_message(message: PKIMessage, depth: int = 0) -> View:
    """One message, layer by layer."""
    kind = message.body_type
    view: View = {
        "body_type": "unknown" if kind is None else kind.name.lower(),
        "header": _header(message.header),
        "protection": _protection(message),
        "extra_certs": [show_certificate(one) for one in message.extra_certs],
    }
    try:
        body = decode_body(message)
        view["body"] = _body(body, depth)
        if kind in _REQUESTS:
            view["strict"] = list(_deviations(message, body))
    except PKIError as error:
        view["body"] = {"fault": error.detail}
    return view


def _deviations(message: PKIMessage, body: Body) -> tuple[str, ...]:
    """Lines of the strict level that a request breaks."""
    algorithm = message.header.protection_alg
    if algorithm is None or is_mac_algorithm(algorithm) or is_keyed_mac(algorithm):
        return deviations(Examined(message, None, body))
    signer = _signer(message)
    if signer is None:
        # Only our store may know who signed: it did not come first, that is certain.
        return ("CMP-41",)
    return deviations(Examined(message, signer, body))


def _signer(message: PKIMessage) -> Certificate | None:
    """The first certificate that came along whose subject is the sender."""
    sender = message.header.sender.directory_name
    for octets in message.extra_certs:
        try:
            certificate = Certificate.decode(octets)
        except PKIError:
            continue
        if sender is not None and certificate.subject.matches(sender):
            return certificate
    return None


def _header(header: PKIHeader) -> View:
    return {
        "pvno": header.pvno,
        "sender": header.sender.text(),
        "recipient": header.recipient.text(),
        "message_time": views.moment(header.message_time),
        "sender_kid": _kid(header.sender_kid),
        "recip_kid": _kid(header.recip_kid),
        "transaction_id": _hex(header.transaction_id),
        "sender_nonce": _hex(header.sender_nonce),
        "recip_nonce": _hex(header.recip_nonce),
        "free_text": list(header.free_text),
        "general_info": [_typed(one.oid, one.value) for one in header.general_info],
    }


def _protection(message: PKIMessage) -> View:
    algorithm = message.header.protection_alg
    if algorithm is None:
        return {"algorithm": None}
    view: View = {"algorithm": _name(algorithm.oid)}
    if message.protection is not None:
        view["octets"] = len(message.protection)
    if is_mac_algorithm(algorithm):
        view |= _mac(algorithm)
    return view


def _mac(algorithm: AlgorithmIdentifier) -> View:
    try:
        parameters = decode_mac_parameters(algorithm)
    except PKIError as error:
        return {"fault": error.detail}
    return {
        "salt_octets": len(parameters.salt),
        "iterations": parameters.iterations,
        "mac": parameters.mac_name,
    }


def _name(oid: str) -> str:
    return _NAMES.get(oid, oid)


def _hex(octets: bytes | None) -> str | None:
    return None if octets is None else octets.hex()


def _kid(octets: bytes | None) -> str | None:
    if octets is None:
        return None
    if octets.isascii() and octets.decode("ascii").isprintable():
        return octets.decode("ascii")
    return octets.hex()


def _typed(oid: str, value: bytes | None) -> View:
    if oid in _SECRET_TYPES:
        return {"type": _name(oid), "value": MASK}
    return {"type": _name(oid), "value": _hex(value)}


def _extensions(extensions: tuple[Extension, ...]) -> list[View]:
    return [
        {
            "extension": _name(one.oid),
            "critical": one.critical,
            "value": one.value.hex(),
        }
        for one in extensions
    ]


def _key(spki: bytes | None) -> str | None:
    if spki is None:
        return None
    try:
        return decode_spki(spki).family
    except PKIError as error:
        return f"fault: {error.detail}"


def _dn(octets: bytes | None) -> str | None:
    if octets is None:
        return None
    try:
        return Name.decode(octets).text()
    except PKIError as error:
        return f"fault: {error.detail}"


# --- bodies ---------------------------------------------------------------------


def _body(body: Body, depth: int) -> View:
    if isinstance(body, NestedMessageContent):
        return {"messages": [_nested(one, depth) for one in body.messages]}
    show = _BODIES.get(type(body))
    return {} if show is None else show(body)


def _nested(octets: bytes, depth: int) -> View:
    if depth >= MAX_DEPTH:
        return {"fault": "nested too deep"}
    try:
        return decode_message(PKIMessage.decode(octets), depth + 1)
    except PKIError as error:
        return {"fault": error.detail}


def _template(template: CertTemplate) -> View:
    validity = template.validity
    number = template.serial_number
    return {
        "subject": _dn(template.subject),
        "issuer": _dn(template.issuer),
        "serial": None if number is None else f"{number:x}",
        "key": _key(template.spki),
        "not_before": None if validity is None else views.moment(validity.not_before),
        "not_after": None if validity is None else views.moment(validity.not_after),
        "extensions": _extensions(template.extensions),
    }


def _request(message: CertReqMsg) -> View:
    popo = message.popo
    return {
        "cert_req_id": message.cert_req.cert_req_id,
        "template": _template(message.cert_req.cert_template),
        "controls": [_typed(one.oid, one.value) for one in message.cert_req.controls],
        "possession": "none" if popo is None else type(popo).__name__,
        "reg_info": [_typed(one.oid, None) for one in message.reg_info],
    }


def _requests(body: CertReqMessages) -> View:
    return {"requests": [_request(one) for one in body.messages]}


def _pkcs10(body: CertificationRequest) -> View:
    view: View = {"subject": _dn(body.subject), "key": _key(body.spki)}
    try:
        view["extensions"] = _extensions(body.extension_request)
    except PKIError as error:
        view["extensions"] = f"fault: {error.detail}"
    return view


def _responses(body: CertRepMessage) -> View:
    found = []
    for one in body.responses:
        pair = one.certified_key_pair
        octets = None if pair is None else pair.certificate
        found.append(
            {
                "cert_req_id": one.cert_req_id,
                **show_status(one.status),
                "certificate": None if octets is None else show_certificate(octets),
                "encrypted": pair is not None and pair.certificate is None,
                "private_key": pair is not None and pair.private_key is not None,
            }
        )
    return {
        "responses": found,
        "ca_pubs": [show_certificate(one) for one in body.ca_pubs],
    }


def _confirmation(body: CertConfirmContent) -> View:
    return {
        "statuses": [
            {
                "cert_req_id": one.cert_req_id,
                "cert_hash": one.cert_hash.hex(),
                **({} if one.status_info is None else show_status(one.status_info)),
            }
            for one in body.statuses
        ]
    }


def _revocation(body: RevReqContent) -> View:
    return {
        "revocations": [
            {
                **_template(one.cert_details),
                "extensions": _extensions(one.crl_entry_details),
            }
            for one in body.details
        ]
    }


def _revoked(body: RevRepContent) -> View:
    return {"statuses": [show_status(one) for one in body.statuses]}


def _general(body: GenMsgContent) -> View:
    return {"values": [_typed(one.oid, one.value) for one in body.info_values]}


def _error(body: ErrorMsgContent) -> View:
    return {
        **show_status(body.status_info),
        "error_code": body.error_code,
        "details": list(body.error_details),
    }


def _poll_request(body: PollReqContent) -> View:
    return {"cert_req_ids": list(body.cert_req_ids)}


def _poll_response(body: PollRepContent) -> View:
    return {
        "entries": [
            {
                "cert_req_id": one.cert_req_id,
                "check_after_seconds": one.check_after,
                "reason": list(one.reason),
            }
            for one in body.entries
        ]
    }


_BODIES: Final[dict[type, Callable[[Any], View]]] = {
    CertReqMessages: _requests,
    CertificationRequest: _pkcs10,
    CertRepMessage: _responses,
    CertConfirmContent: _confirmation,
    RevReqContent: _revocation,
    RevRepContent: _revoked,
    GenMsgContent: _general,
    ErrorMsgContent: _error,
    PollReqContent: _poll_request,
    PollRepContent: _poll_response,
    **RARE_BODIES,
}
