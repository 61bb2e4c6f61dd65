"""OpenSSL's CMP client enrols, renews, asks, with no leniency asked of it."""

from __future__ import annotations

import datetime
import re

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from tests.support.daemon import Daemon
from tests.support.opensslcmp import KEY_OPTIONS, OpenSSL

pytestmark = pytest.mark.interop

IMPLICIT = ("-implicit_confirm",)
COMMON_NAME = x509.NameOID.COMMON_NAME


def common_name(certificate: x509.Certificate) -> str:
    (found,) = certificate.subject.get_attributes_for_oid(COMMON_NAME)
    return str(found.value)


# --- the commands -----------------------------------------------------------------


@pytest.mark.requirement("CMP-30")
@pytest.mark.parametrize("command", ["ir", "cr"])
@pytest.mark.parametrize("confirm", [(), IMPLICIT])
def test_a_secret_enrols(
    openssl: OpenSSL, command: str, confirm: tuple[str, ...]
) -> None:
    certificate = openssl.enrol("unit", *confirm, command=command)
    assert common_name(certificate) == "unit"


@pytest.mark.parametrize("kind", sorted(KEY_OPTIONS))
def test_every_kind_of_key_is_certified(openssl: OpenSSL, kind: str) -> None:
    certificate = openssl.enrol("unit", kind=kind)
    public = x509.load_pem_x509_certificate(
        (openssl.folder / "unit.pem").read_bytes()
    ).public_key()
    assert certificate.public_key() == public


# OpenSSL 3.0 protects no message with an EdDSA key ("unsupported key type").
PROTECTING_KINDS = sorted(kind for kind in KEY_OPTIONS if not kind.startswith("ed"))


@pytest.mark.parametrize("kind", PROTECTING_KINDS)
def test_every_kind_of_key_renews_itself(openssl: OpenSSL, kind: str) -> None:
    openssl.enrol("unit", kind=kind)
    openssl.make_key("next", kind)
    openssl.enrol("next", command="kur", by=openssl.by_certificate("unit"))


@pytest.mark.parametrize("confirm", [(), IMPLICIT])
@pytest.mark.parametrize("kind", ["ec:P-256", "rsa:2048", "ed25519"])
def test_a_pkcs10_request_is_certified(
    openssl: OpenSSL, kind: str, confirm: tuple[str, ...]
) -> None:
    openssl.make_key("unit", kind)
    openssl.make_request("unit", "/CN=by-request")
    outcome = openssl.cmp(
        *("p10cr", *openssl.by_secret, "-csr", "unit.csr", "-certout", "unit.pem"),
        *confirm,
    )
    assert outcome.ok, outcome.text
    assert common_name(openssl.judge("unit")) == "by-request"


@pytest.mark.requirement("CMP-47", "CMP-49")
@pytest.mark.parametrize("confirm", [(), IMPLICIT])
def test_a_certificate_renews_itself(
    openssl: OpenSSL, confirm: tuple[str, ...]
) -> None:
    old = openssl.enrol("unit")
    openssl.make_key("next")
    outcome = openssl.cmp(
        *("kur", *openssl.by_certificate("unit"), "-newkey", "next.key"),
        *("-certout", "next.pem", *confirm),
    )
    assert outcome.ok, outcome.text
    new = openssl.judge("next")
    assert new.subject == old.subject
    assert new.serial_number != old.serial_number


def test_a_renewed_certificate_renews_no_more(openssl: OpenSSL) -> None:
    openssl.enrol("unit")
    openssl.enrol("next", command="kur", by=openssl.by_certificate("unit"))
    openssl.make_key("third")
    outcome = openssl.cmp(
        *("kur", *openssl.by_certificate("unit"), "-newkey", "third.key"),
        *("-certout", "third.pem"),
    )
    assert not outcome.ok
    assert "certRevoked" in outcome.text, outcome.text


def test_a_certificate_gets_another_one(openssl: OpenSSL) -> None:
    openssl.enrol("unit")
    openssl.make_key("other")
    certificate = openssl.enrol(
        "other", "-subject", "/CN=unit", command="cr", by=openssl.by_certificate("unit")
    )
    assert common_name(certificate) == "unit"


def test_a_pkcs10_request_comes_under_a_certificate(openssl: OpenSSL) -> None:
    openssl.enrol("unit")
    openssl.make_key("other")
    openssl.make_request("other", "/CN=unit")
    outcome = openssl.cmp(
        *("p10cr", *openssl.by_certificate("unit"), "-csr", "other.csr"),
        *("-certout", "other.pem"),
    )
    assert outcome.ok, outcome.text
    openssl.judge("other")


@pytest.mark.requirement("CMP-49")
def test_an_initial_answer_brings_root_and_chain(
    openssl: OpenSSL, daemon: Daemon
) -> None:
    openssl.enrol(
        *("unit", "-cacertsout", "root.pem", "-extracertsout", "extra.pem"),
        *("-chainout", "chain.pem"),
    )
    root = (daemon.first_run / "root.pem").read_bytes()
    chain = (daemon.first_run / "chain.pem").read_bytes()
    of = x509.load_pem_x509_certificates
    assert of((openssl.folder / "root.pem").read_bytes()) == of(root)
    assert of(chain)[0] in of((openssl.folder / "extra.pem").read_bytes())
    assert of(chain)[0] in of((openssl.folder / "chain.pem").read_bytes())


# --- confirmation -----------------------------------------------------------------


@pytest.mark.requirement("ENG-26")
def test_who_never_confirms_is_revoked(openssl: OpenSSL, daemon: Daemon) -> None:
    openssl.alias = "confirmed"
    certificate = openssl.enrol("unit", "-disable_confirm")
    serial = f"{certificate.serial_number:x}"
    view = wait_for_status(daemon, serial, "revoked")
    assert view["reason"] == "cessation_of_operation"


def wait_for_status(daemon: Daemon, serial: str, status: str) -> dict[str, object]:
    """Ask again for at most twenty seconds."""
    import time

    deadline = time.monotonic() + 20
    while True:
        view = daemon.ask_tool("certificate", "show", f"issuing/{serial}")
        if view["status"] == status or time.monotonic() > deadline:
            assert view["status"] == status, view
            return dict(view)
        time.sleep(0.5)


def test_implicit_confirmation_is_not_granted_where_it_is_off(
    openssl: OpenSSL,
) -> None:
    openssl.alias = "confirmed"
    openssl.make_key("unit")
    outcome = openssl.cmp(
        *("ir", *openssl.by_secret, "-newkey", "unit.key", "-subject", "/CN=unit"),
        *("-certout", "unit.pem", *IMPLICIT),
    )
    assert outcome.ok, outcome.text
    assert "sending CERTCONF" in outcome.text
    assert "received PKICONF" in outcome.text


# --- possession -------------------------------------------------------------------


def test_an_end_entity_does_not_vouch_for_itself(openssl: OpenSSL) -> None:
    openssl.make_key("unit")
    outcome = openssl.cmp(
        *("ir", *openssl.by_secret, "-newkey", "unit.key", "-subject", "/CN=unit"),
        *("-popo", "0", "-certout", "unit.pem"),
    )
    assert not outcome.ok
    assert "notAuthorized" in outcome.text, outcome.text


@pytest.mark.requirement("CMP-90")
@pytest.mark.parametrize(
    ("popo", "kind"), [("-1", "ec:P-256"), ("-1", "rsa:2048"), ("2", "rsa:2048")]
)
def test_without_a_signature_there_is_no_certificate(
    openssl: OpenSSL, popo: str, kind: str
) -> None:
    openssl.make_key("unit", kind)
    outcome = openssl.cmp(
        *("ir", *openssl.by_secret, "-newkey", "unit.key", "-subject", "/CN=unit"),
        *("-popo", popo, "-certout", "unit.pem"),
    )
    assert not outcome.ok
    assert "badPOP" in outcome.text, outcome.text
    assert not (openssl.folder / "unit.pem").exists()


# --- what may be asked for --------------------------------------------------------


@pytest.mark.parametrize("command", ["ir", "cr"])
def test_a_pkcs10_request_is_converted(openssl: OpenSSL, command: str) -> None:
    openssl.make_key("unit")
    openssl.make_request(
        "unit", "/CN=converted", "-addext", "subjectAltName=DNS:unit.example"
    )
    outcome = openssl.cmp(
        *(command, *openssl.by_secret, "-csr", "unit.csr", "-newkey", "unit.key"),
        *("-certout", "unit.pem"),
    )
    assert outcome.ok, outcome.text
    certificate = openssl.judge("unit")
    assert common_name(certificate) == "converted"
    assert alternative_names(certificate) == ["unit.example"]


def alternative_names(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(name.value) for name in found.value]


def test_alternative_names_are_certified(openssl: OpenSSL) -> None:
    names = "unit.example 192.0.2.1 2001:db8::1 https://unit.example/x"
    certificate = openssl.enrol("unit", "-sans", names)
    assert alternative_names(certificate) == names.split()


def test_alternative_names_alone_are_critical(openssl: OpenSSL) -> None:
    certificate = openssl.enrol("unit", "-subject", "/", "-sans", "unit.example")
    assert not list(certificate.subject)
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert found.critical


def test_extensions_are_taken_as_far_as_the_profile_goes(openssl: OpenSSL) -> None:
    (openssl.folder / "ext.cnf").write_text(
        "[cmp]\n[wanted]\nkeyUsage = critical,digitalSignature\n"
        "extendedKeyUsage = serverAuth,codeSigning\n"
        "subjectAltName = DNS:unit.example,email:unit@example.com,URI:https://unit.example/,RID:1.2.3.4\n"
    )
    certificate = openssl.enrol("unit", "-config", "ext.cnf", "-reqexts", "wanted")
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.SERVER_AUTH in usage
    assert ExtendedKeyUsageOID.CODE_SIGNING not in usage
    key_usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert key_usage.digital_signature
    assert not key_usage.key_agreement
    assert len(alternative_names(certificate)) == 4


def test_a_device_does_not_become_a_ca(openssl: OpenSSL) -> None:
    (openssl.folder / "ext.cnf").write_text(
        "[cmp]\n[wanted]\nbasicConstraints = critical,CA:TRUE\n"
    )
    openssl.make_key("unit")
    outcome = openssl.cmp(
        *("ir", *openssl.by_secret, "-newkey", "unit.key", "-subject", "/CN=unit"),
        *("-config", "ext.cnf", "-reqexts", "wanted", "-certout", "unit.pem"),
    )
    assert not outcome.ok
    assert "notAuthorized" in outcome.text, outcome.text


@pytest.mark.requirement("CMP-65")
@pytest.mark.parametrize(("days", "granted"), [("30", 30), ("20000", 2 * 365)])
def test_validity_is_granted_up_to_that_of_the_profile(
    openssl: OpenSSL, days: str, granted: int
) -> None:
    openssl.make_key("unit")
    outcome = openssl.cmp(
        *("ir", *openssl.by_secret, "-newkey", "unit.key", "-subject", "/CN=unit"),
        *("-days", days, "-certout", "unit.pem"),
    )
    assert outcome.ok, outcome.text
    told = "granted with modifications" in outcome.text.lower()
    assert told == (int(days) > granted), outcome.text
    certificate = openssl.judge("unit")
    got = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert abs(got - datetime.timedelta(days=granted)) < datetime.timedelta(days=2)


def test_unknown_general_information_is_ignored(openssl: OpenSSL) -> None:
    openssl.enrol("unit", "-geninfo", "1.2.3.4:int:987")


def test_a_policy_that_is_not_the_profiles_is_not_certified(openssl: OpenSSL) -> None:
    openssl.make_key("unit")
    outcome = openssl.cmp(
        *("ir", *openssl.by_secret, "-newkey", "unit.key", "-subject", "/CN=unit"),
        *("-policy_oids", "1.2.3.4", "-certout", "unit.pem"),
    )
    if outcome.ok:
        certificate = openssl.judge("unit")
        with pytest.raises(x509.ExtensionNotFound):
            certificate.extensions.get_extension_for_oid(
                ExtensionOID.CERTIFICATE_POLICIES
            )
    else:
        assert re.search("unaccepted(Policy|Extension)", outcome.text), outcome.text


# --- protection -------------------------------------------------------------------


@pytest.mark.parametrize("digest", ["sha1", "sha224", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("mac", ["hmac-sha1", "hmacWithSHA256", "hmacWithSHA512"])
def test_every_mac_is_answered_in_kind(openssl: OpenSSL, digest: str, mac: str) -> None:
    openssl.make_key("unit")
    outcome = openssl.cmp(
        *("genm", *openssl.by_secret, "-infotype", "signKeyPairTypes"),
        *("-digest", digest, "-mac", mac),
    )
    assert outcome.ok, outcome.text


@pytest.mark.parametrize(
    ("kind", "digest"),
    [
        *(("ec:P-256", digest) for digest in ("sha224", "sha256", "sha384", "sha512")),
        *(("rsa:2048", digest) for digest in ("sha224", "sha256", "sha384", "sha512")),
        ("rsa:2048", "sha3-256"),
    ],
)
def test_signatures_use_any_good_digest(
    openssl: OpenSSL, kind: str, digest: str
) -> None:
    openssl.enrol("unit", kind=kind)
    openssl.enrol(
        *("next", "-digest", digest), command="kur", by=openssl.by_certificate("unit")
    )


@pytest.mark.requirement("CMP-48")
@pytest.mark.parametrize("reference", ["first-run", "nobody"])
def test_wrong_secret_and_unknown_reference_look_alike(
    openssl: OpenSSL, daemon: Daemon, reference: str
) -> None:
    openssl.make_key("unit")
    outcome = openssl.cmp(
        *("ir", "-ref", reference, "-secret", "pass:wrong", "-newkey", "unit.key"),
        *("-subject", "/CN=unit", "-certout", "unit.pem"),
        *("-trusted", str(daemon.first_run / "root.pem")),
        *("-untrusted", str(daemon.first_run / "chain.pem")),
    )
    assert not outcome.ok
    assert "badMessageCheck" in outcome.text, outcome.text


def test_an_unprotected_request_is_refused(openssl: OpenSSL, daemon: Daemon) -> None:
    openssl.make_key("unit")
    outcome = openssl.cmp(
        *("ir", "-unprotected_requests", "-newkey", "unit.key", "-subject", "/CN=unit"),
        *("-certout", "unit.pem", "-trusted", str(daemon.first_run / "root.pem")),
        *("-untrusted", str(daemon.first_run / "chain.pem")),
    )
    assert not outcome.ok
    assert "badMessageCheck" in outcome.text, outcome.text


@pytest.mark.requirement("CMP-08")
@pytest.mark.parametrize("recipient", ["/CN=Nobody", "/", "/C=DE/O=x/OU=y/CN=z"])
def test_any_recipient_will_do(openssl: OpenSSL, recipient: str) -> None:
    openssl.enrol("unit", "-recipient", recipient)


def test_another_issuer_in_the_template_is_refused(openssl: OpenSSL) -> None:
    openssl.make_key("unit")
    outcome = openssl.cmp(
        *("ir", *openssl.by_secret, "-newkey", "unit.key", "-subject", "/CN=unit"),
        *("-issuer", "/CN=Another CA", "-certout", "unit.pem"),
    )
    assert not outcome.ok
    assert "badCertTemplate" in outcome.text, outcome.text


def test_answers_come_from_the_expected_sender(
    openssl: OpenSSL, daemon: Daemon
) -> None:
    openssl.enrol("unit")
    openssl.cmp(
        *("genm", *openssl.by_certificate("unit"), "-infotype", "signKeyPairTypes"),
        *("-extracertsout", "extra.pem"),
    )
    signer = x509.load_pem_x509_certificates(
        (openssl.folder / "extra.pem").read_bytes()
    )[0]
    (openssl.folder / "signer.pem").write_bytes(pem(signer))
    outcome = openssl.cmp(
        *("genm", "-cert", "unit.pem", "-key", "unit.key", "-srvcert", "signer.pem"),
        *("-infotype", "signKeyPairTypes"),
        *("-untrusted", str(daemon.first_run / "chain.pem")),
    )
    assert outcome.ok, outcome.text


def pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def test_a_signer_without_its_chain_is_found(openssl: OpenSSL, daemon: Daemon) -> None:
    openssl.enrol("unit")
    openssl.make_key("next")
    outcome = openssl.cmp(
        *("kur", "-cert", "unit.pem", "-key", "unit.key", "-newkey", "next.key"),
        *("-certout", "next.pem", "-trusted", str(daemon.first_run / "root.pem")),
    )
    assert outcome.ok, outcome.text
    openssl.judge("next")


# --- the wire ---------------------------------------------------------------------


@pytest.mark.requirement("CMP-153")
@pytest.mark.parametrize("keep_alive", ["0", "1", "2"])
def test_connections_are_kept_as_asked(openssl: OpenSSL, keep_alive: str) -> None:
    openssl.enrol("unit", "-keep_alive", keep_alive)


@pytest.mark.requirement("CMP-155")
@pytest.mark.parametrize(
    "path",
    [
        *(".well-known/cmp", ".well-known/cmp/initialization", ".well-known/cmp/ir"),
        *(".well-known/cmp/p/default/initialization", "cmp/default"),
        *("ejbca/publicweb/cmp/default", "pkix/", "pkix"),
    ],
)
def test_every_path_leads_in(openssl: OpenSSL, path: str) -> None:
    openssl.enrol("unit", "-path", path)


def test_the_same_is_repeated(openssl: OpenSSL) -> None:
    openssl.enrol("unit", "-repeat", "5")


def test_the_same_key_is_refused_where_it_is_not_allowed(openssl: OpenSSL) -> None:
    openssl.alias = "strictkey"
    openssl.enrol("unit")
    outcome = openssl.cmp(
        *("ir", *openssl.by_secret, "-newkey", "unit.key", "-subject", "/CN=other"),
        *("-certout", "other.pem"),
    )
    assert not outcome.ok
    assert "badCertTemplate" in outcome.text, outcome.text
