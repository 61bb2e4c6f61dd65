"""Which version of CMP a message needs.

Pure. A message that says version 2 and holds syntax of version 3 is broken; whether it
is refused is decided elsewhere.

**Source:** RFC 9810 section 7; sections 5.2.2, 5.2.8.3, 5.3.13 and 5.3.18.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pkid.messages.cmp.announcements import CAKeyUpdContent, RootCaKeyUpdateContent
from pkid.messages.cmp.body import (
    Body,
    CertConfirmContent,
    CertRepMessage,
    CertReqMessages,
    GenMsgContent,
)
from pkid.messages.cmp.challenge import POPODecKeyChallContent
from pkid.messages.cmp.header import CMP2000, CMP2021, InfoTypeAndValue
from pkid.messages.cmp.infotypes import REV_PASSPHRASE
from pkid.messages.cmp.keypairs import CertifiedKeyPair
from pkid.messages.cmp.recovery import KeyRecRepContent
from pkid.messages.controls import PKI_ARCHIVE_OPTIONS
from pkid.messages.crmf import CertReqMsg, POPOPrivKey, PrivKeyMethod
from pkid.messages.encryptedkeys import EnvelopedKey

_METHODS_OF_CMP2021: Final = (PrivKeyMethod.AGREE_MAC, PrivKeyMethod.ENCRYPTED_KEY)


def required_version(
    content: Body, general_info: Iterable[InfoTypeAndValue] = ()
) -> int:
    """The lowest version that has the syntax of a message: `CMP2000` or `CMP2021`.

    :param content: the body of the message; messages nested in it count for themselves.
    :param general_info: from its header.
    :raises PKIError: ``MALFORMED`` when a control or a piece of information that may
        hold an ``EnvelopedData`` is broken.
    """
    if _is_body_of_cmp2021(content) or _hold_enveloped(general_info):
        return CMP2021
    return CMP2000


def _is_body_of_cmp2021(content: Body) -> bool:
    match content:
        case CertReqMessages():
            found = any(map(_is_request_of_cmp2021, content.messages))
        case CertRepMessage():
            pairs = (response.certified_key_pair for response in content.responses)
            found = any(pair is not None and _holds_enveloped(pair) for pair in pairs)
        case KeyRecRepContent():
            found = any(map(_holds_enveloped, content.key_pair_hist))
        case CertConfirmContent():
            found = any(status.hash_alg is not None for status in content.statuses)
        case POPODecKeyChallContent():
            found = any(one.encrypted_rand is not None for one in content.challenges)
        case CAKeyUpdContent():
            found = isinstance(content.update, RootCaKeyUpdateContent)
        case GenMsgContent():
            found = _hold_enveloped(content.info_values)
        case _:
            found = False
    return found


def _is_request_of_cmp2021(message: CertReqMsg) -> bool:
    popo = message.popo
    if isinstance(popo, POPOPrivKey) and popo.method in _METHODS_OF_CMP2021:
        return True
    return any(
        isinstance(options, EnvelopedKey)
        for options in PKI_ARCHIVE_OPTIONS.find_all(message.cert_req.controls)
    )


def _holds_enveloped(pair: CertifiedKeyPair) -> bool:
    return isinstance(pair.encrypted_cert, EnvelopedKey) or isinstance(
        pair.private_key, EnvelopedKey
    )


def _hold_enveloped(infos: Iterable[InfoTypeAndValue]) -> bool:
    return any(
        isinstance(REV_PASSPHRASE.read(info), EnvelopedKey)
        for info in infos
        if info.oid == REV_PASSPHRASE.oid
    )
