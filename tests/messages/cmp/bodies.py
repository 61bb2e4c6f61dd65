"""Hypothesis strategies for the bodies of rare messages and for typed information."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from pkid.asn1 import der
from pkid.messages import crmf
from pkid.messages.cmp import infotypes
from pkid.messages.cmp.announcements import (
    CAKeyUpdAnnContent,
    CAKeyUpdContent,
    CertAnnContent,
    CRLAnnContent,
    RevAnnContent,
    RootCaKeyUpdateContent,
)
from pkid.messages.cmp.body import Body, BodyType
from pkid.messages.cmp.certreqtemplate import CertReqTemplateContent
from pkid.messages.cmp.challenge import (
    Challenge,
    POPODecKeyChallContent,
    POPODecKeyRespContent,
)
from pkid.messages.cmp.crlstatus import (
    CRLIssuer,
    CRLStatus,
    FullName,
    NameRelativeToCRLIssuer,
)
from pkid.messages.cmp.kem import KemCiphertextInfo
from pkid.messages.cmp.keypairs import CertifiedKeyPair
from pkid.messages.cmp.nested import NestedMessageContent
from pkid.messages.cmp.recovery import KeyRecRepContent
from pkid.messages.cmp.status import PKIStatus
from tests.messages import strategies as make

Octets = st.SearchStrategy[bytes]

GENERAL_NAME_LISTS = st.lists(make.GENERAL_NAMES, min_size=1, max_size=2).map(tuple)
RDNS = make.TEXTS.map(
    lambda text: der.set_of(der.sequence(der.oid("2.5.4.3"), der.utf8_string(text)))
)
CRL_STATUSES = st.builds(
    CRLStatus,
    GENERAL_NAME_LISTS.map(FullName)
    | RDNS.map(NameRelativeToCRLIssuer)
    | GENERAL_NAME_LISTS.map(CRLIssuer),
    st.none() | make.MOMENTS,
)
CHALLENGES = st.lists(
    st.builds(
        Challenge,
        make.ALGORITHMS,
        make.OCTETS,
        make.OCTETS,
        st.none() | make.ENVELOPED_DATA,
    ),
    max_size=3,
).map(lambda challenges: POPODecKeyChallContent(tuple(challenges)))
ANSWERS = st.lists(make.INTEGERS, max_size=3).map(
    lambda integers: POPODecKeyRespContent(tuple(integers))
)
# An empty name in a template is lost by pyasn1.
NAMES = make.NAMES.filter(lambda name: not name.is_empty).map(lambda name: name.der)
TEMPLATES_OF_CAS = st.builds(
    crmf.CertTemplate,
    version=st.none() | st.just(2),
    issuer=st.none() | NAMES,
    subject=st.none() | NAMES,
    extensions=make.EXTENSION_LISTS,
)
CERT_REQ_TEMPLATES = st.builds(
    CertReqTemplateContent.build,
    TEMPLATES_OF_CAS,
    algorithms=st.lists(make.ALGORITHMS, max_size=2),
    rsa_key_lens=st.lists(st.integers(1, 16384), max_size=2),
)


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One or two of them."""
    return st.lists(values, min_size=1, max_size=2).map(tuple)


def old_updates(certificates: Octets) -> st.SearchStrategy[CAKeyUpdAnnContent]:
    """New CA keys in the form of version 2."""
    return st.builds(
        CAKeyUpdAnnContent,
        old_with_new=certificates,
        new_with_old=certificates,
        new_with_new=certificates,
    )


def updates(certificates: Octets) -> st.SearchStrategy[RootCaKeyUpdateContent]:
    """New root keys in the form of version 3."""
    return st.builds(
        RootCaKeyUpdateContent,
        new_with_new=certificates,
        new_with_old=st.none() | certificates,
        old_with_new=st.none() | certificates,
    )


def rare(
    certificates: Octets,
    crls: Octets,
    pairs: st.SearchStrategy[CertifiedKeyPair],
) -> dict[BodyType, Any]:
    """Contents of the bodies that few messages have."""
    histories = st.lists(pairs, max_size=2).map(tuple)
    return {
        BodyType.POPDECC: CHALLENGES,
        BodyType.POPDECR: ANSWERS,
        BodyType.KRP: st.builds(
            KeyRecRepContent,
            make.STATUS_INFOS,
            st.none() | certificates,
            st.lists(certificates, max_size=2).map(tuple),
            histories,
        ),
        BodyType.CKUANN: (old_updates(certificates) | updates(certificates)).map(
            CAKeyUpdContent
        ),
        BodyType.CANN: certificates.map(CertAnnContent),
        BodyType.RANN: st.builds(
            RevAnnContent,
            status=st.sampled_from(PKIStatus),
            cert_id=make.CERT_IDS,
            will_be_revoked_at=make.MOMENTS,
            bad_since_date=make.MOMENTS,
            crl_details=make.EXTENSION_LISTS,
        ),
        BodyType.CRLANN: st.lists(crls, max_size=2).map(
            lambda found: CRLAnnContent(tuple(found))
        ),
    }


def contents(
    certificates: Octets, messages: Octets
) -> dict[BodyType, st.SearchStrategy[Body]]:
    """Contents of all body types."""
    return {
        **make.contents(certificates),
        **rare(certificates, certificates, make.key_pairs(certificates)),
        BodyType.NESTED: some(messages).map(NestedMessageContent),
    }


def info_values(
    certificates: Octets, crls: Octets, messages: Octets
) -> list[tuple[infotypes.InfoType[Any], st.SearchStrategy[Any]]]:
    """Values for every row of the table of information."""
    algorithms = some(make.ALGORITHMS)
    return [
        (infotypes.CA_PROT_ENC_CERT, certificates),
        (infotypes.SIGN_KEY_PAIR_TYPES, algorithms),
        (infotypes.ENC_KEY_PAIR_TYPES, algorithms),
        (infotypes.PREFERRED_SYMM_ALG, make.ALGORITHMS),
        (infotypes.CA_KEY_UPDATE_INFO, old_updates(certificates)),
        (infotypes.CURRENT_CRL, crls),
        (infotypes.UNSUPPORTED_OIDS, some(make.OIDS)),
        (infotypes.KEY_PAIR_PARAM_REQ, make.OIDS),
        (infotypes.KEY_PAIR_PARAM_REP, make.ALGORITHMS),
        (infotypes.REV_PASSPHRASE, make.ENCRYPTED_KEYS),
        (infotypes.IMPLICIT_CONFIRM, st.just(infotypes.Null())),
        (infotypes.CONFIRM_WAIT_TIME, make.MOMENTS),
        (infotypes.ORIG_PKI_MESSAGE, some(messages)),
        (infotypes.SUPP_LANG_TAGS, some(make.TEXTS)),
        (infotypes.CA_CERTS, some(certificates)),
        (infotypes.ROOT_CA_KEY_UPDATE, updates(certificates)),
        (infotypes.CERT_REQ_TEMPLATE, CERT_REQ_TEMPLATES),
        (infotypes.ROOT_CA_CERT, certificates),
        (infotypes.CERT_PROFILE, some(make.TEXTS | st.just(""))),
        (infotypes.CRL_STATUS_LIST, some(CRL_STATUSES)),
        (infotypes.CRLS, some(crls)),
        (
            infotypes.KEM_CIPHERTEXT_INFO,
            st.builds(KemCiphertextInfo, make.ALGORITHMS, make.OCTETS),
        ),
    ]
