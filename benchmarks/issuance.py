"""What one certificate costs: template and signature, CertificateBuilder, signature.

Run ``python -m benchmarks.issuance``. Rounds are interleaved and the unit is CPU time,
so that other work on the machine disturbs all three alike; quote the ratios.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto import extensions
from pkid.crypto.algorithms import PrivateKey, signature_algorithm_for
from pkid.crypto.crls import assemble_crl, crl_number, encode_crl_entry
from pkid.crypto.signatures import sign
from pkid.crypto.tbs import (
    RANDOM_OCTETS,
    CertificateTemplate,
    encode_certificate,
    not_after,
    serial_number,
)

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
YEAR = datetime.timedelta(days=365)
CA_URL = "http://ca.example.com/ca.cer"
OCSP_URL = "http://ca.example.com/ocsp"
CRL_URL = "http://ca.example.com/ca.crl"
TARGET = 1.4
SUPERSEDED = 4


@dataclass(frozen=True, slots=True)
class Issuer:
    """A CA key, and all that its certificates share."""

    key: PrivateKey
    algorithm: AlgorithmIdentifier
    template: CertificateTemplate

    @classmethod
    def of(cls, key: PrivateKey) -> Issuer:
        algorithm = signature_algorithm_for(key.public_key())
        point = extensions.DistributionPoint(names=(GeneralName.uri(CRL_URL),))
        fixed = (
            extensions.basic_constraints(ca=False),
            extensions.key_usage(["digitalSignature"]),
            extensions.extended_key_usage(
                [ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string]
            ),
            extensions.authority_key_identifier(bytes(20)),
            extensions.crl_distribution_points([point]),
            extensions.authority_information_access([CA_URL], [OCSP_URL]),
        )
        template = CertificateTemplate.compile(
            Name.from_text("CN=Issuing CA,O=Example").der,
            algorithm,
            [extension.encode() for extension in fixed],
        )
        return cls(key, algorithm, template)


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks: the same in every round."""

    name: bytes
    spki: bytes
    key: ec.EllipticCurvePublicKey

    @classmethod
    def make(cls) -> Subject:
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return cls(Name.from_text("CN=station-0001,O=Example").der, spki, key)


def variable_extensions() -> bytes:
    """What differs from certificate to certificate, beside name and key."""
    names = [GeneralName.dns("station-0001.example.com")]
    return extensions.encode_subject_alternative_name(
        names
    ) + extensions.encode_subject_key_identifier(bytes(20))


def new_serial() -> int:
    """A serial number with fresh random bits."""
    return serial_number(1_767_225_600, os.urandom(RANDOM_OCTETS))


def assemble(issuer: Issuer, subject: Subject, serial: int, variable: bytes) -> bytes:
    """One TBSCertificate from the template."""
    end = not_after(START, YEAR)
    return issuer.template.assemble(
        serial, START, end, subject.name, subject.spki, variable
    )


def issue_from_template(
    issuer: Issuer, subject: Subject, serial: int, variable: bytes
) -> bytes:
    """A whole certificate from the template."""
    tbs = assemble(issuer, subject, serial, variable)
    return encode_certificate(
        tbs, issuer.algorithm, sign(issuer.key, issuer.algorithm, tbs)
    )


def issue_from_nothing(issuer: Issuer, subject: Subject) -> bytes:
    """The same, serial number and varying extensions made on the way."""
    return issue_from_template(issuer, subject, new_serial(), variable_extensions())


def issue_with_builder(key: PrivateKey, subject: Subject) -> bytes:
    """The same certificate from cryptography's builder."""
    aia = [
        x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(OCSP_URL)
        ),
        x509.AccessDescription(
            AuthorityInformationAccessOID.CA_ISSUERS,
            x509.UniformResourceIdentifier(CA_URL),
        ),
    ]
    point = x509.DistributionPoint(
        [x509.UniformResourceIdentifier(CRL_URL)], None, None, None
    )
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    alternative = x509.SubjectAlternativeName(
        [x509.DNSName("station-0001.example.com")]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(_builder_name("station-0001"))
        .issuer_name(_builder_name("Issuing CA"))
        .public_key(subject.key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(START)
        .not_valid_after(not_after(START, YEAR))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier(bytes(20), None, None), critical=False
        )
        .add_extension(x509.CRLDistributionPoints([point]), critical=False)
        .add_extension(x509.AuthorityInformationAccess(aia), critical=False)
        .add_extension(alternative, critical=False)
        .add_extension(x509.SubjectKeyIdentifier(bytes(20)), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return certificate.public_bytes(Encoding.DER)


def _builder_name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name),
        ]
    )


def raw_signature(key: PrivateKey, data: bytes) -> bytes:
    """The signature alone, straight from cryptography."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(hashes.SHA256()))
    if isinstance(key, rsa.RSAPrivateKey):
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

        return key.sign(data, PKCS1v15(), hashes.SHA256())
    raise TypeError


def medians(
    work: dict[str, Callable[[], object]], rounds: int, repeats: int
) -> dict[str, float]:
    """Microseconds of CPU of each piece of work, median of interleaved rounds."""
    measured: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, function in work.items():
            start = time.process_time()
            for _ in range(repeats):
                function()
            measured[name].append((time.process_time() - start) / repeats * 1e6)
    return {name: statistics.median(values) for name, values in measured.items()}


def measure_issuance(label: str, key: PrivateKey, rounds: int, repeats: int) -> float:
    """Print one line for a kind of CA key; template : raw signature is returned."""
    issuer, subject = Issuer.of(key), Subject.make()
    serial, variable = new_serial(), variable_extensions()
    tbs = assemble(issuer, subject, serial, variable)
    found = medians(
        {
            "signature": lambda: raw_signature(key, tbs),
            "assembly": lambda: assemble(issuer, subject, serial, variable),
            "template": lambda: issue_from_template(issuer, subject, serial, variable),
            "all": lambda: issue_from_nothing(issuer, subject),
            "builder": lambda: issue_with_builder(key, subject),
        },
        rounds,
        repeats,
    )
    ratio = found["template"] / found["signature"]
    print(f"{label} CA key, us of CPU:")
    print(f"  raw signature                 {found['signature']:7.1f}")
    print(f"  assembly                      {found['assembly']:7.1f}")
    for name, text in (
        ("template", "assembly + signature         "),
        ("all", "... + serial, SAN and SKI    "),
        ("builder", "CertificateBuilder           "),
    ):
        quotient = found[name] / found["signature"]
        print(f"  {text} {found[name]:7.1f}  {quotient:5.2f} x signature")
    print(f"  target for assembly + signature: {TARGET} x signature")
    return ratio


def measure_crl(entries: int, rounds: int) -> float:
    """Print what a CRL costs, unsigned; ours : builder is returned."""
    key = ec.generate_private_key(ec.SECP256R1())
    algorithm = signature_algorithm_for(key.public_key())
    issuer = Name.from_text("CN=Issuing CA,O=Example").der
    serials = [serial_number(n + 1, os.urandom(13)) for n in range(entries)]
    extras = (crl_number(1), extensions.authority_key_identifier(bytes(20)))

    reason = x509.Extension(
        x509.CRLReason.oid,
        critical=False,
        value=x509.CRLReason(x509.ReasonFlags.superseded),
    )
    stored = [encode_crl_entry(serial, START, SUPERSEDED) for serial in serials]

    def joined() -> bytes:
        tbs = assemble_crl(issuer, algorithm, START, START + YEAR, stored, extras)
        return sign(key, algorithm, tbs)

    def assembled() -> bytes:
        encoded = (encode_crl_entry(serial, START, SUPERSEDED) for serial in serials)
        tbs = assemble_crl(issuer, algorithm, START, START + YEAR, encoded, extras)
        return sign(key, algorithm, tbs)

    def built() -> bytes:
        # The public method of adding one is quadratic: give the whole list at once.
        revoked = [
            x509.RevokedCertificateBuilder(serial, START, [reason]).build()
            for serial in serials
        ]
        builder = x509.CertificateRevocationListBuilder(
            _builder_name("Issuing CA"), START, START + YEAR, [], revoked
        )
        return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)

    found = medians(
        {"joined": joined, "assembled": assembled, "built": built}, rounds, 1
    )
    ratio = found["assembled"] / found["built"]
    print(
        f"CRL of {entries}: joined {found['joined'] / 1000:.1f} ms, entries encoded "
        f"too {found['assembled'] / 1000:.1f} ms, builder "
        f"{found['built'] / 1000:.1f} ms; ratio {ratio:.2f} (target 0.15)"
    )
    return ratio


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--crl-entries", type=int, default=100_000)
    options = parser.parse_args()
    measure_issuance(
        "P-256",
        ec.generate_private_key(ec.SECP256R1()),
        options.rounds,
        options.repeats,
    )
    measure_issuance(
        "RSA-2048",
        rsa.generate_private_key(65537, 2048),
        options.rounds,
        max(1, options.repeats // 10),
    )
    if options.crl_entries:
        measure_crl(options.crl_entries, 3)


if __name__ == "__main__":
    main()
