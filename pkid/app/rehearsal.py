"""What an entrance would do with a request: names, profile, key, approvals.

Pure. Nothing is verified that needs a secret or the store: the protection, the proof
of possession, the right to an existing end entity. Everything else is today's policy.

**Source:** ENG-16, ENG-51.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pkid.app import views
from pkid.app.views import View
from pkid.asn1 import oids
from pkid.asn1.names import Name
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.certificates import Certificate
from pkid.crypto.keyedmac import is_keyed_mac
from pkid.crypto.mac import is_mac_algorithm
from pkid.crypto.publickeys import decode_spki
from pkid.engine import endentities
from pkid.engine.aliases import ApprovalRule, Authentication, Policies
from pkid.engine.authorities import bounds_of
from pkid.engine.authorization import Grant
from pkid.engine.lint import findings
from pkid.engine.model import EndEntity, EntityStatus, RequestedCertificate
from pkid.engine.policy import CertificatePlan, plan_certificate
from pkid.engine.profiles import EndEntityProfile
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import CertReqMessages
from pkid.messages.cmp.message import PKIMessage, decode_body
from pkid.messages.crmf import CertTemplate
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.cmp.aliases import CMPAlias


def rehearse(
    octets: bytes,
    alias: CMPAlias,
    *,
    policies: Policies,
    issuer: bytes,
    now: datetime,
) -> View:
    """Run one CMP message through an entrance's rules.

    :param octets: DER of the message.
    :param issuer: DER certificate of the alias's authority.
    :returns: what would be certified, or the rule that refuses.
    """
    view: View = {"alias": alias.name, "would_issue": False}
    try:
        message = PKIMessage.decode(octets)
        view["body"] = (
            "unknown" if message.body_type is None else message.body_type.name
        )
        view["sender"] = message.header.sender.text()
        view |= _authentication(message, alias)
        wanted = _requested(message)
        if wanted is None:
            view["refusal"] = "this message asks for no certificate"
            return view
        plan = _plan(wanted, alias, policies, issuer, now)
        view |= _shown(plan)
        view["would_issue"] = view["authentication"] != "refused" and not view["lint"]
        rule = policies.approval_rules.get(alias.alias.approval, ApprovalRule())
        view["approvals_needed"] = rule.needed
    except PKIError as error:
        view["refusal"] = error.detail
        view["code"] = error.code.value
        view["hint"] = error.hint or ""
    return view


def _authentication(message: PKIMessage, alias: CMPAlias) -> View:
    algorithm = message.header.protection_alg
    if algorithm is None or message.protection is None:
        open_to_all = alias.unprotected_requests and message.protection is None
        return {"protection": "none", "authentication": _accepted(allowed=open_to_all)}
    kind, allowed = _kind(algorithm, alias)
    sender_kid = message.header.sender_kid or b""
    return {
        "protection": kind,
        "sender_kid": _kid(sender_kid, kind),
        "authentication": _accepted(allowed=allowed),
    }


def _kind(algorithm: AlgorithmIdentifier, alias: CMPAlias) -> tuple[str, bool]:
    """What kind of protection it is, and whether the alias takes it."""
    accepted = alias.alias.authenticate
    if is_mac_algorithm(algorithm) or is_keyed_mac(algorithm):
        return "mac", Authentication.MAC in accepted
    certificates = bool(accepted - {Authentication.MAC})
    if algorithm.oid == oids.ID_DH_BASED_MAC:
        return "agreement", certificates and alias.agreement
    if algorithm.oid == oids.ID_KEM_BASED_MAC:
        return "kem", certificates and alias.kem
    return "signature", certificates


def _accepted(*, allowed: bool) -> str:
    return "accepted, not verified" if allowed else "refused"


def _kid(octets: bytes, kind: str) -> str:
    if kind == "mac":
        return octets.decode("utf-8", "backslashreplace")
    return octets.hex()


def _requested(message: PKIMessage) -> RequestedCertificate | None:
    body = decode_body(message)
    if isinstance(body, CertReqMessages):
        return _from_template(body.messages[0].cert_req.cert_template)
    if isinstance(body, CertificationRequest):
        return RequestedCertificate(
            subject=Name.decode(body.subject),
            public_key=body.spki,
            extensions=body.extension_request,
        )
    return None


def _from_template(template: CertTemplate) -> RequestedCertificate:
    validity = template.validity
    return RequestedCertificate(
        subject=None if template.subject is None else Name.decode(template.subject),
        public_key=template.spki,
        extensions=template.extensions,
        not_before=None if validity is None else validity.not_before,
        not_after=None if validity is None else validity.not_after,
    )


def _plan(
    wanted: RequestedCertificate,
    alias: CMPAlias,
    policies: Policies,
    issuer: bytes,
    now: datetime,
) -> CertificatePlan:
    entrance = alias.alias
    names = policies.end_entity_profiles.get(
        entrance.end_entity_profile, EndEntityProfile(name="any")
    )
    subject = wanted.subject
    entity = (
        ""
        if subject is None
        else endentities.entity_name(entrance.name_rule, subject, b"", bytes(12))
    )
    grant = Grant(
        alias=entrance,
        profile=policies.certificate_profile(entrance.certificate_profile),
        end_entity_profile=names,
        approval=policies.approval_rules.get(entrance.approval, ApprovalRule()),
        entity=EndEntity(name=entity, status=EntityStatus.NEW, created=now),
        new_entity=True,
    )
    if wanted.public_key is None:
        raise PKIError(ErrorCode.BAD_TEMPLATE, "the request has no public key")
    return plan_certificate(
        grant,
        wanted,
        decode_spki(wanted.public_key),
        bounds_of(Certificate.decode(issuer)),
        now,
        blocked=policies.blocked_keys,
    )


def _shown(plan: CertificatePlan) -> Mapping[str, object]:
    return {
        "certificate_profile": plan.profile.name,
        "subject": plan.subject.text(),
        "alternative_names": [name.text() for name in plan.alternative_names],
        "key": plan.key.family,
        "key_usage": sorted(plan.key_usage),
        "extended_key_usage": list(plan.extended_key_usage),
        "not_before": views.moment(plan.not_before),
        "not_after": views.moment(plan.not_after),
        "modified": plan.modified,
        "lint": list(findings(plan)),
    }
