"""Which shared secret a message means, where its subject says so and not senderKID.

EJBCA's client mode finds the user by a part of the subject asked for; whatever stands
in senderKID is of no account. What follows in the transaction has no subject: the
message that opened it tells.

**Source:** RFC 9810 section 5.1.1 for senderKID; EJBCA's extractusernamecomponent.
"""

from __future__ import annotations

from typing import Final

from pkid.asn1.names import Name
from pkid.engine import endentities
from pkid.engine.aliases import NameScheme
from pkid.engine.model import CredentialKind
from pkid.errors import PKIError
from pkid.messages.cmp.body import BodyType, CertReqMessages
from pkid.messages.cmp.message import PKIMessage, decode_body
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.requests import PROTOCOL

_OPENING: Final = frozenset((BodyType.IR, BodyType.CR, BodyType.P10CR))
_FOLLOWING: Final = frozenset((BodyType.CERT_CONF, BodyType.POLL_REQ, BodyType.ERROR))
_BY_SECRET: Final = f"secret:{CredentialKind.CMP_SECRET.value}:"


def reference_in(alias: CMPAlias, subject: bytes | None) -> str:
    """The reference that the alias's name rule makes of a subject; "" for none.

    :param subject: ``Name``, whole.
    :raises PKIError: ``MALFORMED``.
    """
    rule = alias.alias.name_rule
    if subject is None or rule.scheme is NameScheme.RANDOM:
        return ""
    name = Name.decode(subject)
    return "" if name.is_empty else endentities.entity_name(rule, name, b"", b"")


async def reference_by_subject(
    engine: Engine, alias: CMPAlias, message: PKIMessage
) -> str | None:
    """The reference that a MAC-protected message means by its subject.

    Nothing is proven yet: a message that cannot be read names nobody.

    :returns: "" when it names nobody; None for a body that has neither a subject nor
        a message before it.
    """
    if message.body_type in _OPENING:
        return _opening(alias, message)
    if message.body_type in _FOLLOWING:
        return await _following(engine, alias, message)
    return None


def _opening(alias: CMPAlias, message: PKIMessage) -> str:
    try:
        body = decode_body(message)
        if isinstance(body, CertificationRequest):
            return reference_in(alias, body.subject)
        if isinstance(body, CertReqMessages):
            first = body.messages[0].cert_req.cert_template
            return reference_in(alias, first.subject)
    except PKIError:
        pass
    return ""


async def _following(engine: Engine, alias: CMPAlias, message: PKIMessage) -> str:
    transaction_id = message.header.transaction_id
    if transaction_id is None:
        return ""
    found = await engine.find_transactions_by_id(PROTOCOL, alias.name, transaction_id)
    if not found:
        return ""
    # Who takes the same id later does not stand in the way of who had it first.
    owner = min(found, key=lambda record: record.created).key.requester
    return owner[len(_BY_SECRET) :] if owner.startswith(_BY_SECRET) else ""
