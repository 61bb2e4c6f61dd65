"""All 27 bodies: tags, rare contents, version 3 syntax; pyasn1's rfc9810 as oracle."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyasn1.type import tag, univ, useful
from pyasn1_alt_modules import rfc9810
from pyasn1_modules import rfc4210

from pkid.asn1 import der
from pkid.asn1.names import EMPTY, GeneralName
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.errors import ErrorCode, PKIError
from pkid.messages import crmf
from pkid.messages.cmp import body
from pkid.messages.cmp.announcements import (
    CAKeyUpdAnnContent,
    CAKeyUpdContent,
    CertAnnContent,
    CRLAnnContent,
    RevAnnContent,
    RootCaKeyUpdateContent,
)
from pkid.messages.cmp.body import BodyType, encode_body
from pkid.messages.cmp.challenge import (
    Challenge,
    POPODecKeyChallContent,
    POPODecKeyRespContent,
    Rand,
)
from pkid.messages.cmp.header import PKIHeader
from pkid.messages.cmp.keypairs import CertifiedKeyPair
from pkid.messages.cmp.message import PKIMessage, decode_body, encode_message
from pkid.messages.cmp.recovery import KeyRecRepContent
from pkid.messages.cmp.status import PKIStatus, PKIStatusInfo
from pkid.messages.encryptedkeys import EncryptedValue, EnvelopedKey
from pkid.messages.privkeyproofs import make_popo
from tests.messages import strategies as make
from tests.messages.cmp import bodies as make_bodies
from tests.messages.oracle import (
    CHANGES,
    PATIENT,
    assert_malformed,
    assert_object_or_malformed,
    changed,
    read,
    write,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "cmp"
CA = (VECTORS / "ca.cer").read_bytes()
EE = (VECTORS / "ee.cer").read_bytes()
NULL_DN = GeneralName.directory(EMPTY)
HEADER = PKIHeader(pvno=3, sender=NULL_DN, recipient=NULL_DN)
SHA256 = AlgorithmIdentifier("2.16.840.1.101.3.4.2.1")
ACCEPTED = PKIStatusInfo(PKIStatus.ACCEPTED)
CERTIFICATES = st.sampled_from([CA, EE])
CRLS = st.builds(
    lambda algorithm, name, moment, bits: der.sequence(
        der.sequence(algorithm.encode(), name.der, der.time(moment)),
        algorithm.encode(),
        der.bit_string(bits),
    ),
    make.ALGORITHMS,
    make.NAMES,
    make.MOMENTS,
    make.OCTETS,
)
# An empty name in a template is lost by pyasn1.
TEMPLATES = make.templates(make.NAMES.filter(lambda name: not name.is_empty))
POPOS = make.POPOS | st.builds(
    make_popo, make.KEY_USES, make.ENVELOPED_DATA.map(EnvelopedKey)
)
OLD_KEY_PAIRS = make.key_pairs(CERTIFICATES, make.ENCRYPTED_VALUES)
MESSAGE = encode_message(HEADER.encode(), der.explicit(19, der.NULL))
CONTENTS: dict[BodyType, Any] = {
    **make.contents(CERTIFICATES, popos=POPOS, templates=TEMPLATES),
    # pyasn1's krp still has the key pair of rfc4210; the new one is tested by itself.
    **make_bodies.rare(CERTIFICATES, CRLS, OLD_KEY_PAIRS),
    BodyType.NESTED: st.just(body.NestedMessageContent((MESSAGE, MESSAGE))),
}
NAMES = {
    kind: rfc9810.PKIBody.componentType.getNameByPosition(kind) for kind in BodyType
}


def message(kind: int, element: bytes) -> bytes:
    return encode_message(HEADER.encode(), der.explicit(kind, element))


# --- the table ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", range(27))
@given(data=st.data())
@settings(PATIENT, max_examples=5)
def test_each_of_the_27_bodies_is_decoded_and_means_the_same_to_the_oracle(
    kind: int, data: st.DataObject
) -> None:
    content = data.draw(CONTENTS[BodyType(kind)])
    octets = encode_message(HEADER.encode(), encode_body(BodyType(kind), content))
    found = PKIMessage.decode(octets)
    assert found.body_type == kind
    assert decode_body(found) == content
    assert type(decode_body(found)) is type(content)
    theirs = read(octets, rfc9810.PKIMessage())
    assert theirs["body"].getName() == NAMES[BodyType(kind)]


@pytest.mark.parametrize("kind", range(27, 31))
def test_bodies_from_27_on_are_no_bodies(kind: int) -> None:
    found = PKIMessage.decode(message(kind, der.sequence()))
    assert found.body_type is None
    with pytest.raises(PKIError) as caught:
        decode_body(found)
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_names_of_the_bodies_are_those_of_the_RFC() -> None:
    assert {kind.name.lower().replace("_", "") for kind in BodyType} == {
        name.lower() for name in NAMES.values()
    }


@given(st.binary(max_size=80) | st.binary(max_size=80).map(der.sequence))
def test_any_octets_in_any_body_give_a_content_or_MALFORMED(octets: bytes) -> None:
    for decode in body.DECODERS.values():
        assert_object_or_malformed(decode, octets)


@given(
    st.sampled_from(
        sorted(make_bodies.rare(CERTIFICATES, CRLS, OLD_KEY_PAIRS))
    ).flatmap(lambda kind: st.tuples(st.just(kind), CONTENTS[kind])),
    CHANGES,
)
def test_changed_content_of_a_rare_body_is_a_content_or_MALFORMED(
    made: tuple[BodyType, Any], changes: list[tuple[float, int]]
) -> None:
    kind, content = made

    def again(octets: bytes) -> None:
        found = body.DECODERS[kind](octets)
        assert body.DECODERS[kind](inside(encode_body(kind, found))) == found

    assert_object_or_malformed(again, changed(content.encode(), changes))


def inside(octets: bytes) -> bytes:
    return der.single(octets, octets[0])


# --- challenges ---------------------------------------------------------------------


@given(st.builds(Rand, make.INTEGERS, make.GENERAL_NAMES))
@PATIENT
def test_rand_round_trips_and_the_oracle_agrees(rand: Rand) -> None:
    assert Rand.decode(rand.encode()) == rand
    theirs = read(rand.encode(), rfc9810.Rand())
    assert int(theirs["int"]) == rand.integer


def test_challenge_of_version_2_is_what_rfc4210_reads() -> None:
    content = POPODecKeyChallContent((Challenge(SHA256, b"w", b"c"),))
    theirs = read(content.encode(), rfc4210.POPODecKeyChallContent())
    assert bytes(theirs[0]["witness"]) == b"w"
    assert bytes(theirs[0]["challenge"]) == b"c"


def test_we_read_challenges_that_pyasn1_made() -> None:
    theirs = rfc4210.POPODecKeyChallContent()
    theirs[0]["owf"]["algorithm"] = SHA256.oid
    for index in range(2):
        theirs[index]["witness"] = b"w"
        theirs[index]["challenge"] = b"c"
    content = POPODecKeyChallContent.decode(write(theirs))
    assert content.challenges == (
        Challenge(SHA256, b"w", b"c"),
        Challenge(None, b"w", b"c"),
    )
    assert content.digests() == (SHA256, SHA256)


def test_challenge_of_version_3_is_empty_beside_its_enveloped_data() -> None:
    enveloped = make._enveloped_data(b"kid", SHA256, b"key")
    challenge = Challenge(SHA256, b"w", encrypted_rand=enveloped)
    theirs = read(
        POPODecKeyChallContent((challenge,)).encode(), rfc9810.POPODecKeyChallContent()
    )
    assert bytes(theirs[0]["challenge"]) == b""
    assert int(theirs[0]["encryptedRand"]["version"]) == 2


def test_answers_to_challenges_keep_their_order() -> None:
    theirs = rfc4210.POPODecKeyRespContent()
    theirs.extend([3, 1, 2**200])
    assert POPODecKeyRespContent.decode(write(theirs)).integers == (3, 1, 2**200)


def test_what_a_challenge_hides_is_not_shown() -> None:
    assert "4711" not in repr(Rand(4711, NULL_DN))
    assert "4711" not in repr(POPODecKeyRespContent((4711,)))


# --- key pairs ------------------------------------------------------------------------


def test_key_pair_of_rfc4210_is_read() -> None:
    theirs = rfc4210.CertifiedKeyPair()
    value = tagged(rfc4210.rfc2511.EncryptedValue(), 1)
    value["encValue"] = univ.BitString(hexValue="aa55")
    theirs["certOrEncCert"]["encryptedCert"] = value
    pair = CertifiedKeyPair.decode(der.single(write(theirs), der.SEQUENCE))
    assert pair == CertifiedKeyPair(
        encrypted_cert=EncryptedValue(enc_value=b"\xaa\x55")
    )


@given(make.key_pairs(CERTIFICATES))
@PATIENT
def test_key_pair_round_trips_and_the_oracle_agrees(pair: CertifiedKeyPair) -> None:
    octets = pair.encode()
    assert CertifiedKeyPair.decode(der.single(octets, der.SEQUENCE)) == pair
    read(octets, rfc9810.CertifiedKeyPair())


def test_delivered_key_is_what_the_oracle_reads() -> None:
    enveloped = make._enveloped_data(b"kid", SHA256, b"key")
    pair = CertifiedKeyPair(certificate=EE, private_key=EnvelopedKey(enveloped))
    theirs = read(pair.encode(), rfc9810.CertifiedKeyPair())
    assert theirs["privateKey"].getName() == "envelopedData"
    # [0] EXPLICIT around the CHOICE, in it [0] IMPLICIT for EnvelopedData.
    assert der.explicit(0, b"\xa0" + enveloped[1:]) in pair.encode()


@pytest.mark.parametrize("octets", [b"", der.NULL, der.explicit(2, EE)])
def test_key_pair_of_no_known_choice_is_malformed(octets: bytes) -> None:
    assert_malformed(CertifiedKeyPair.decode, octets)


@pytest.mark.parametrize(
    "pair",
    [
        CertifiedKeyPair(),
        CertifiedKeyPair(certificate=EE, encrypted_cert=EncryptedValue(enc_value=b"")),
    ],
)
def test_key_pair_without_exactly_one_certificate_is_not_written(
    pair: CertifiedKeyPair,
) -> None:
    assert_malformed(lambda _: pair.encode(), b"")


# --- recovery and announcements: what pyasn1 made ----------------------------------


def tagged(value: Any, number: int) -> Any:
    form = tag.tagFormatConstructed
    return value.subtype(explicitTag=tag.Tag(tag.tagClassContext, form, number))


def test_we_read_a_key_recovery_that_pyasn1_made() -> None:
    theirs = rfc9810.KeyRecRepContent()
    theirs["status"]["status"] = 1
    place = rfc9810.KeyRecRepContent.componentType
    theirs["newSigCert"] = read(der.explicit(0, EE), place["newSigCert"].asn1Object)
    found = KeyRecRepContent.decode(write(theirs))
    assert found == KeyRecRepContent(
        PKIStatusInfo(PKIStatus.GRANTED_WITH_MODS), new_sig_cert=EE
    )


def test_we_read_a_revocation_announcement_that_pyasn1_made() -> None:
    theirs = rfc4210.RevAnnContent()
    theirs["status"] = 5
    theirs["certId"]["issuer"] = GeneralName.dns("ca").encode()
    theirs["certId"]["serialNumber"] = 77
    theirs["willBeRevokedAt"] = useful.GeneralizedTime("20300102030405Z")
    theirs["badSinceDate"] = useful.GeneralizedTime("20290102030405Z")
    moment = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    with pytest.raises(PKIError):
        # That module has an OCTET STRING where a GeneralName belongs.
        RevAnnContent.decode(write(theirs))
    theirs = rfc9810.RevAnnContent()
    theirs["status"] = 5
    theirs["certId"]["issuer"]["dNSName"] = "ca"
    theirs["certId"]["serialNumber"] = 77
    theirs["willBeRevokedAt"] = useful.GeneralizedTime("20300102030405Z")
    theirs["badSinceDate"] = useful.GeneralizedTime("20290102030405Z")
    assert RevAnnContent.decode(write(theirs)) == RevAnnContent(
        status=PKIStatus.REVOCATION_NOTIFICATION,
        cert_id=crmf.CertId(GeneralName.dns("ca"), 77),
        will_be_revoked_at=moment,
        bad_since_date=moment.replace(year=2029),
    )


def test_key_update_of_version_2_is_untagged_and_of_version_3_tagged() -> None:
    old = CAKeyUpdAnnContent(old_with_new=CA, new_with_old=EE, new_with_new=CA)
    new = RootCaKeyUpdateContent(new_with_new=CA, old_with_new=EE)
    read(CAKeyUpdContent(old).encode(), rfc4210.CAKeyUpdAnnContent())
    theirs = read(CAKeyUpdContent(new).encode(), rfc9810.CAKeyUpdContent())
    assert theirs.getName() == "cAKeyUpdAnnV3"
    assert not theirs["cAKeyUpdAnnV3"]["newWithOld"].isValue
    assert CAKeyUpdContent(new).encode() == der.explicit(0, new.encode())


# --- what breaks a rule ------------------------------------------------------------

CHALLENGE = Challenge(SHA256, b"w", b"c").encode()
STATUS = ACCEPTED.encode()
MOMENT = der.encode(der.GENERALIZED_TIME, b"20300102030405Z")
ID = crmf.CertId(NULL_DN, 1).encode()


@pytest.mark.requirement("CMP-03")
@pytest.mark.parametrize(
    ("kind", "octets"),
    [
        pytest.param(5, der.sequence(*[CHALLENGE] * 17), id="17 challenges"),
        pytest.param(
            5,
            der.sequence(der.sequence(der.octet_string(b""), der.octet_string(b""))),
            id="first challenge without owf",
        ),
        pytest.param(
            5,
            der.sequence(
                der.sequence(
                    SHA256.encode(),
                    der.octet_string(b""),
                    der.octet_string(b""),
                    der.explicit(0, der.NULL),
                )
            ),
            id="encryptedRand is no EnvelopedData",
        ),
        pytest.param(6, der.sequence(*[der.integer(1)] * 17), id="17 answers"),
        pytest.param(6, der.sequence(der.NULL), id="an answer that is no INTEGER"),
        pytest.param(9, der.sequence(), id="krr without a request"),
        pytest.param(
            10, der.sequence(STATUS, der.explicit(1, der.sequence())), id="no caCerts"
        ),
        pytest.param(
            10, der.sequence(STATUS, der.explicit(2, der.sequence())), id="no history"
        ),
        pytest.param(
            10, der.sequence(STATUS, der.explicit(0, der.NULL)), id="no certificate"
        ),
        pytest.param(
            10,
            der.sequence(
                STATUS,
                der.explicit(
                    2, der.sequence(*[CertifiedKeyPair(certificate=EE).encode()] * 65)
                ),
            ),
            id="65 key pairs",
        ),
        pytest.param(15, der.sequence(CA, CA), id="two certificates of three"),
        pytest.param(15, der.sequence(CA, CA, CA, CA), id="four certificates"),
        pytest.param(15, der.explicit(0, der.sequence()), id="no newWithNew"),
        pytest.param(15, der.explicit(1, der.sequence(CA)), id="unknown form"),
        pytest.param(16, der.NULL, id="announced certificate is NULL"),
        pytest.param(
            17, der.sequence(der.integer(7), ID, MOMENT, MOMENT), id="status 7"
        ),
        pytest.param(
            17, der.sequence(der.integer(4), ID, MOMENT), id="one time of two"
        ),
        pytest.param(
            17,
            der.sequence(der.integer(4), ID, MOMENT, MOMENT, der.sequence()),
            id="no crlDetails",
        ),
        pytest.param(18, der.sequence(der.NULL), id="announced CRL is NULL"),
        pytest.param(18, der.sequence(*[der.sequence()] * 33), id="33 CRLs"),
    ],
)
def test_body_that_breaks_a_rule_is_malformed(kind: int, octets: bytes) -> None:
    assert_malformed(body.DECODERS[BodyType(kind)], octets)


def test_announcements_are_found_as_they_were_sent() -> None:
    assert CertAnnContent.decode(EE).certificate == EE
    assert CRLAnnContent.decode(der.sequence()).crls == ()
