"""Bodies of CMP beside the common ones, to be broken."""

from __future__ import annotations

import os

from pkid.asn1 import oids
from pkid.asn1.names import GeneralName, Name
from pkid.messages.cmp import infotypes
from pkid.messages.cmp.body import (
    Body,
    BodyType,
    CertConfirmContent,
    CertReqMessages,
    CertStatus,
    GenMsgContent,
    PKIConfirmContent,
    PollReqContent,
)
from pkid.messages.cmp.crlstatus import CRLIssuer, CRLStatus, FullName
from pkid.messages.cmp.nested import NestedMessageContent
from pkid.messages.cmp.revocation import RevDetails, RevReqContent
from pkid.messages.crmf import CertTemplate
from tests.responders.peers import new_key, signed_request
from tests.support.breaking import TRANSACTION_ID
from tests.support.cmpclient import Client, Request

IDS = (0, 1, 2)


def other_bodies(client: Client) -> list[tuple[str, Request]]:
    """Several requests, questions with values, and what is seldom sent."""
    name = Name.from_text("CN=part")
    group = CertReqMessages(
        tuple(signed_request(new_key(), "CN=part", cert_req_id=one) for one in IDS)
    )
    names = (GeneralName.directory(name), GeneralName.uri("http://127.0.0.1/x.crl"))
    questions = GenMsgContent(
        (
            infotypes.CRL_STATUS_LIST.info(
                (CRLStatus(CRLIssuer(names)), CRLStatus(FullName(names)))
            ),
            infotypes.KEY_PAIR_PARAM_REQ.info(oids.ID_EC_PUBLIC_KEY),
            infotypes.CERT_REQ_TEMPLATE.info(),
            infotypes.ROOT_CA_CERT.info(),
            infotypes.SUPP_LANG_TAGS.info(("fi", "en")),
        )
    )
    details = RevDetails(CertTemplate(issuer=name.der, serial_number=7))
    words = CertConfirmContent(tuple(CertStatus(os.urandom(32), one) for one in IDS))
    inner = client.enrol("CN=part").octets
    bodies: dict[str, tuple[BodyType, Body]] = {
        # Not as an ir: each request is a commit, and this run looks for slow answers.
        "ccr": (BodyType.CCR, group),
        "questions": (BodyType.GENM, questions),
        "rr of several": (BodyType.RR, RevReqContent((details, details))),
        "certConf of several": (BodyType.CERT_CONF, words),
        "pollReq of several": (BodyType.POLL_REQ, PollReqContent(IDS)),
        "pkiconf": (BodyType.PKICONF, PKIConfirmContent()),
        "nested": (BodyType.NESTED, NestedMessageContent((inner, inner))),
    }
    return [
        (name, client.send(body_type, body, transaction_id=TRANSACTION_ID, pvno=3))
        for name, (body_type, body) in bodies.items()
    ]
