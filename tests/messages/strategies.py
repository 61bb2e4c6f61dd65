"""Hypothesis strategies for every value of the codecs."""

from __future__ import annotations

import datetime

from hypothesis import strategies as st

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import AlgorithmIdentifier, Extension
from pkid.messages import controls, crmf
from pkid.messages.cmp import body
from pkid.messages.cmp.header import InfoTypeAndValue, PKIHeader
from pkid.messages.cmp.keypairs import CertifiedKeyPair
from pkid.messages.cmp.revocation import RevDetails, RevRepContent, RevReqContent
from pkid.messages.cmp.status import FailInfo, PKIStatus, PKIStatusInfo
from pkid.messages.encryptedkeys import EncryptedKey, EncryptedValue, EnvelopedKey
from pkid.messages.pkcs10 import Attribute, CertificationRequest, encode_request_info

BodyType = body.BodyType

OIDS = st.sampled_from(
    ("1.2.3.4", "2.999.1", "0.9.2342", "1.3.6.1.5.5.7.4.13", "2.5.29.17")
) | st.lists(st.integers(0, 2**40), min_size=1, max_size=4).map(
    lambda arcs: "1.3." + ".".join(map(str, arcs))
)
OCTETS = st.binary(max_size=24)
LOWEST = {-(1 << 8 * octets - 1) for octets in range(1, 22)}
# pyasn1 0.6 writes -2^7, -2^15 and so on in one octet too many; tests/asn1 has those.
INTEGERS = (st.integers(-1, 300) | st.integers(-(2**160), 2**160)).filter(
    lambda number: number >= 0 or number not in LOWEST
)
TEXTS = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"),
    min_size=1,
    max_size=12,
)
FREE_TEXTS = st.lists(TEXTS, max_size=3).map(tuple)
MOMENTS = st.datetimes(
    datetime.datetime(1950, 1, 1),  # noqa: DTZ001
    datetime.datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.just(datetime.UTC),
).map(lambda moment: moment.replace(microsecond=0))
ELEMENTS = st.one_of(
    st.just(der.NULL),
    INTEGERS.map(der.integer),
    OCTETS.map(der.octet_string),
    TEXTS.map(der.utf8_string),
    OCTETS.map(lambda octets: der.sequence(der.octet_string(octets))),
)
ALGORITHMS = st.builds(AlgorithmIdentifier, OIDS, st.none() | ELEMENTS)
NAMES = st.lists(
    st.lists(
        st.tuples(st.sampled_from((oids.ID_AT_COMMON_NAME, "2.5.4.10")), TEXTS),
        min_size=1,
        max_size=2,
    ),
    max_size=3,
).map(Name.build)
IA5 = st.text(
    st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=12
)
GENERAL_NAMES = st.one_of(
    NAMES.map(GeneralName.directory),
    IA5.map(GeneralName.dns),
    IA5.map(GeneralName.email),
    IA5.map(GeneralName.uri),
    st.ip_addresses().map(lambda address: GeneralName.ip(str(address))),
    OIDS.map(GeneralName.rid),
    st.builds(GeneralName.other, OIDS, ELEMENTS),
)
EXTENSION_LISTS = st.lists(
    st.builds(Extension, OIDS, st.booleans(), OCTETS),
    max_size=3,
    unique_by=lambda extension: extension.oid,
).map(tuple)
SPKIS = st.builds(
    lambda algorithm, key: der.sequence(algorithm.encode(), der.bit_string(key)),
    ALGORITHMS,
    OCTETS,
)


def _validity(
    before: datetime.datetime | None, after: datetime.datetime | None
) -> crmf.OptionalValidity | None:
    if before is None and after is None:
        return None
    return crmf.OptionalValidity(before, after)


def templates(names: st.SearchStrategy[Name]) -> st.SearchStrategy[crmf.CertTemplate]:
    """Templates with issuer and subject of the names given."""
    return st.builds(
        crmf.CertTemplate,
        version=st.none() | st.just(2),
        serial_number=st.none() | INTEGERS,
        signing_alg=st.none() | ALGORITHMS,
        issuer=st.none() | names.map(lambda name: name.der),
        validity=st.builds(_validity, st.none() | MOMENTS, st.none() | MOMENTS),
        subject=st.none() | names.map(lambda name: name.der),
        spki=st.none() | SPKIS,
        issuer_uid=st.none() | OCTETS.map(lambda octets: b"\0" + octets),
        subject_uid=st.none() | OCTETS.map(lambda octets: b"\0" + octets),
        extensions=EXTENSION_LISTS,
    )


TEMPLATES = templates(NAMES)
CONTROLS = st.lists(
    st.builds(crmf.AttributeTypeAndValue, OIDS, ELEMENTS), max_size=2
).map(tuple)
MACS = st.builds(crmf.PKMACValue, ALGORITHMS, OCTETS)
SIGNING_INPUTS = st.builds(crmf.POPOSigningKeyInput.build, GENERAL_NAMES | MACS, SPKIS)
KEY_USES = st.sampled_from(crmf.KeyUse)
PRIV_KEYS = st.one_of(
    st.builds(
        crmf.POPOPrivKey,
        KEY_USES,
        st.sampled_from((crmf.PrivKeyMethod.THIS_MESSAGE, crmf.PrivKeyMethod.DH_MAC)),
        OCTETS.map(lambda octets: b"\0" + octets),
    ),
    st.builds(
        crmf.POPOPrivKey,
        KEY_USES,
        st.just(crmf.PrivKeyMethod.SUBSEQUENT_MESSAGE),
        st.sampled_from((b"\0", b"\1")),
    ),
)
AGREE_MACS = st.builds(
    crmf.POPOPrivKey,
    st.just(crmf.KeyUse.KEY_AGREEMENT),
    st.just(crmf.PrivKeyMethod.AGREE_MAC),
    MACS.map(lambda mac: der.single(mac.encode(), der.SEQUENCE)),
)
SIGNING_KEYS = st.builds(
    crmf.POPOSigningKey, ALGORITHMS, OCTETS, st.none() | SIGNING_INPUTS
)
POPOS = st.one_of(
    st.none(), st.just(crmf.RAVerified()), SIGNING_KEYS, PRIV_KEYS, AGREE_MACS
)
CERT_IDS = st.builds(crmf.CertId, GENERAL_NAMES, INTEGERS)
CERT_ID_LISTS = st.lists(CERT_IDS, max_size=2).map(tuple)
STATUS_INFOS = st.builds(
    PKIStatusInfo,
    st.sampled_from(PKIStatus),
    FREE_TEXTS,
    st.frozensets(st.sampled_from(FailInfo), max_size=3),
)
INFO_VALUES = st.lists(
    st.builds(InfoTypeAndValue, OIDS, st.none() | ELEMENTS), max_size=3
).map(tuple)
HEADERS = st.builds(
    PKIHeader,
    pvno=INTEGERS,
    sender=GENERAL_NAMES,
    recipient=GENERAL_NAMES,
    message_time=st.none() | MOMENTS,
    protection_alg=st.none() | ALGORITHMS,
    sender_kid=st.none() | OCTETS,
    recip_kid=st.none() | OCTETS,
    transaction_id=st.none() | OCTETS,
    sender_nonce=st.none() | OCTETS,
    recip_nonce=st.none() | OCTETS,
    free_text=FREE_TEXTS,
    general_info=INFO_VALUES,
)
ATTRIBUTES = st.lists(
    st.builds(
        Attribute,
        OIDS,
        st.lists(ELEMENTS, max_size=3).map(lambda values: tuple(sorted(values))),
    ),
    max_size=3,
).map(tuple)
CERTIFICATION_REQUESTS = st.builds(
    CertificationRequest.build,
    st.builds(encode_request_info, NAMES.map(lambda name: name.der), SPKIS, ATTRIBUTES),
    ALGORITHMS,
    OCTETS,
)
ENCRYPTED_VALUES = st.builds(
    EncryptedValue,
    enc_value=OCTETS,
    intended_alg=st.none() | ALGORITHMS,
    symm_alg=st.none() | ALGORITHMS,
    enc_symm_key=st.none() | OCTETS,
    key_alg=st.none() | ALGORITHMS,
    value_hint=st.none() | OCTETS,
)


def _enveloped_data(kid: bytes, algorithm: AlgorithmIdentifier, key: bytes) -> bytes:
    recipient = der.sequence(
        der.integer(2),
        der.implicit(0, der.octet_string(kid)),
        algorithm.encode(),
        der.octet_string(key),
    )
    content = der.sequence(
        der.oid(oids.ID_DATA),
        algorithm.encode(),
        der.implicit(0, der.octet_string(key)),
    )
    return der.sequence(der.integer(2), der.set_of(recipient), content)


ENVELOPED_DATA = st.builds(_enveloped_data, OCTETS, ALGORITHMS, OCTETS)
ENCRYPTED_KEYS = ENCRYPTED_VALUES | ENVELOPED_DATA.map(EnvelopedKey)
# An empty directory name at an optional place is lost by pyasn1.
LOCATIONS = GENERAL_NAMES.filter(lambda name: name.value != b"\x30\x00")
PUBLICATION_INFOS = st.just(
    controls.PKIPublicationInfo(controls.PublicationAction.DONT_PUBLISH)
) | st.builds(
    controls.PKIPublicationInfo,
    st.just(controls.PublicationAction.PLEASE_PUBLISH),
    st.lists(
        st.just(controls.SinglePubInfo(controls.PublicationMethod.DONT_CARE))
        | st.builds(
            controls.SinglePubInfo,
            st.sampled_from(list(controls.PublicationMethod)[1:]),
            st.none() | LOCATIONS,
        ),
        max_size=2,
    ).map(tuple),
)


def key_pairs(
    certificates: st.SearchStrategy[bytes],
    keys: st.SearchStrategy[EncryptedKey] = ENCRYPTED_KEYS,
    infos: st.SearchStrategy[controls.PKIPublicationInfo] = PUBLICATION_INFOS,
) -> st.SearchStrategy[CertifiedKeyPair]:
    """Certificates, plain or encrypted, with what may stand beside them."""
    return st.builds(
        CertifiedKeyPair, certificates, st.none(), st.none() | keys, st.none() | infos
    ) | st.builds(CertifiedKeyPair, st.none(), keys, st.none() | keys)


def contents(
    certificates: st.SearchStrategy[bytes],
    popos: st.SearchStrategy[crmf.ProofOfPossession | None] = POPOS,
    cert_ids: st.SearchStrategy[tuple[crmf.CertId, ...]] = CERT_ID_LISTS,
    templates: st.SearchStrategy[crmf.CertTemplate] = TEMPLATES,
    pairs: st.SearchStrategy[CertifiedKeyPair] | None = None,
) -> dict[BodyType, st.SearchStrategy[body.Body]]:
    """Contents of the body types of every day, made of what is given."""
    cert_requests = st.builds(crmf.CertRequest.build, INTEGERS, templates, CONTROLS)
    lists = st.lists(certificates, max_size=2).map(tuple)
    if pairs is None:
        pairs = key_pairs(certificates)
    requests = (
        st.lists(
            st.builds(crmf.CertReqMsg, cert_requests, popos, CONTROLS),
            min_size=1,
            max_size=2,
        )
        .map(tuple)
        .map(body.CertReqMessages)
    )
    replies = st.builds(
        body.CertRepMessage,
        st.lists(
            st.builds(
                body.CertResponse,
                INTEGERS,
                STATUS_INFOS,
                st.none() | pairs,
                st.none() | OCTETS,
            ),
            max_size=2,
        ).map(tuple),
        lists,
    )
    general = st.builds(body.GenMsgContent, INFO_VALUES)
    details = st.builds(RevDetails, templates, EXTENSION_LISTS)
    return {
        BodyType.IR: requests,
        BodyType.IP: replies,
        BodyType.CR: requests,
        BodyType.CP: replies,
        BodyType.P10CR: CERTIFICATION_REQUESTS,
        BodyType.KUR: requests,
        BodyType.KUP: replies,
        BodyType.KRR: requests,
        BodyType.RR: st.builds(RevReqContent, st.lists(details, max_size=2).map(tuple)),
        BodyType.RP: st.builds(
            RevRepContent,
            st.lists(STATUS_INFOS, min_size=1, max_size=2).map(tuple),
            cert_ids,
        ),
        BodyType.CCR: requests,
        BodyType.CCP: replies,
        BodyType.PKICONF: st.just(body.PKIConfirmContent()),
        BodyType.GENM: general,
        BodyType.GENP: general,
        BodyType.ERROR: st.builds(
            body.ErrorMsgContent, STATUS_INFOS, st.none() | INTEGERS, FREE_TEXTS
        ),
        BodyType.CERT_CONF: st.builds(
            body.CertConfirmContent,
            st.lists(
                st.builds(body.CertStatus, OCTETS, INTEGERS, st.none() | STATUS_INFOS),
                max_size=2,
            ).map(tuple),
        ),
        BodyType.POLL_REQ: st.builds(
            body.PollReqContent, st.lists(INTEGERS, max_size=3).map(tuple)
        ),
        BodyType.POLL_REP: st.builds(
            body.PollRepContent,
            st.lists(
                st.builds(body.PollRepEntry, INTEGERS, INTEGERS, FREE_TEXTS),
                max_size=2,
            ).map(tuple),
        ),
    }
