"""Checks of the header of a CMP request, each raising what it has to say.

They need no key and no store. The order in which they run is the responder's.

**Source:** RFC 9810 sections 5.1.1 and 7; RFC 9483 section 3.5 (tolerant level).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.header import CMP2000, CMP2021, PKIHeader

MIN_NONCE_OCTETS: Final = 16
MAX_NONCE_OCTETS: Final = 64
MAX_TRANSACTION_ID_OCTETS: Final = 64
GENERATED_ID_OCTETS: Final = 16
MAX_PROFILE_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the header of an enrolment request asks for.

    :ivar implicit_confirm: the client would rather not send certConf.
    :ivar profile: certificate profile asked for by name, or None.
    """

    implicit_confirm: bool = False
    profile: str | None = None


NO_WISHES: Final = Wishes()


def answer_version(pvno: int) -> int:
    """The pvno to answer with: the request's, or the nearest that is served."""
    return min(max(pvno, CMP2000), CMP2021)


def check_version(pvno: int) -> None:
    """Refuse versions that are not served.

    :raises PKIError: ``UNSUPPORTED_VERSION``.

    **Source:** RFC 9810 section 7.
    """
    if not CMP2000 <= pvno <= CMP2021:
        raise PKIError(
            ErrorCode.UNSUPPORTED_VERSION,
            f"pvno {pvno} is not supported: {CMP2000} and {CMP2021} are",
        )


def check_sender(sender: GeneralName) -> None:
    """Refuse a sender that is a broken name: it will be our recipient.

    :raises PKIError: ``MALFORMED``.
    """
    _ = sender.directory_name


def transaction_id_of(header: PKIHeader, request_hash: bytes) -> bytes:
    """The transaction's id: the client's, or one made for it.

    One that is made comes from the request's own digest, so that the same octets
    again find the same transaction.

    :raises PKIError: ``BAD_REQUEST`` when it is empty or too long.
    """
    given = header.transaction_id
    if given is None:
        return request_hash[:GENERATED_ID_OCTETS]
    if not 1 <= len(given) <= MAX_TRANSACTION_ID_OCTETS:
        raise PKIError(
            ErrorCode.BAD_REQUEST,
            f"transactionID must have 1 to {MAX_TRANSACTION_ID_OCTETS} octets",
        )
    return given


def check_sender_nonce(header: PKIHeader) -> bytes:
    """The client's nonce.

    :raises PKIError: ``BAD_SENDER_NONCE`` when it is missing, short or long.
    """
    nonce = header.sender_nonce
    if nonce is None or not MIN_NONCE_OCTETS <= len(nonce) <= MAX_NONCE_OCTETS:
        raise PKIError(
            ErrorCode.BAD_SENDER_NONCE,
            f"senderNonce must have {MIN_NONCE_OCTETS} to {MAX_NONCE_OCTETS} octets",
        )
    return nonce


def check_time(header: PKIHeader, now: datetime, window: timedelta | None) -> None:
    """Refuse messages from another time, where the alias asks for it.

    :raises PKIError: ``BAD_TIME``.
    """
    if window is None:
        return
    if header.message_time is None:
        raise PKIError(ErrorCode.BAD_TIME, "messageTime is required here")
    if abs(header.message_time - now) > window:
        raise PKIError(
            ErrorCode.BAD_TIME,
            f"messageTime is more than {int(window.total_seconds())} seconds off",
        )


def read_wishes(header: PKIHeader) -> Wishes:
    """Read the general information of an enrolment request; unknown kinds pass.

    :raises PKIError: ``BAD_REQUEST``, ``BAD_TIME`` or ``MALFORMED`` for known kinds
        used wrongly.

    **Source:** RFC 9810 sections 5.1.1.1, 5.1.1.2 and 5.1.1.4.
    """
    if not header.general_info:
        return NO_WISHES
    # Of several of one kind the first counts.
    found = {info.oid: info for info in reversed(header.general_info)}
    implicit = found.get(oids.ID_IT_IMPLICIT_CONFIRM)
    if implicit is not None and implicit.value != der.NULL:
        raise PKIError(ErrorCode.BAD_REQUEST, "implicitConfirm must be NULL")
    wait = found.get(oids.ID_IT_CONFIRM_WAIT_TIME)
    if wait is not None:
        _check_confirm_wait_time(wait.value, with_implicit=implicit is not None)
        if header.message_time is None:
            raise PKIError(
                ErrorCode.BAD_TIME, "confirmWaitTime needs a messageTime beside it"
            )
    profile = found.get(oids.ID_IT_CERT_PROFILE)
    name = None if profile is None else _profile_name(profile.value)
    return Wishes(implicit is not None, name)


def _check_confirm_wait_time(value: bytes | None, *, with_implicit: bool) -> None:
    if with_implicit:
        raise PKIError(
            ErrorCode.BAD_REQUEST, "implicitConfirm and confirmWaitTime exclude another"
        )
    if value is None:
        der.malformed("confirmWaitTime without a time")
    der.decode_generalized_time(der.single(value, der.GENERALIZED_TIME))


def _profile_name(value: bytes | None) -> str | None:
    """The one name of ``CertProfileValue``; an empty one means none."""
    if value is None:
        der.malformed("certProfile without a name")
    names = der.Cursor(der.single(value, der.SEQUENCE))
    if not names:
        der.malformed("certProfile without a name")
    name = der.decode_utf8(names.take(der.UTF8_STRING))
    if names:
        raise PKIError(ErrorCode.BAD_REQUEST, "more certificate profiles than requests")
    if len(name) > MAX_PROFILE_CHARACTERS:
        raise PKIError(ErrorCode.BAD_REQUEST, "the certificate profile is not known")
    return name or None
