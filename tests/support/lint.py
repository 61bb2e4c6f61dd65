"""pkilint's PKIX rules in this process: what is wrong with certificates, CRLs, OCSP."""

from __future__ import annotations

import functools
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint import loader, pkix
from pkilint.pkix import certificate, crl, extension, name, ocsp
from pkilint.validation import ValidationFindingSeverity

FAULTS = frozenset((ValidationFindingSeverity.ERROR, ValidationFindingSeverity.FATAL))


@functools.cache
def _rules() -> Any:
    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        ),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


@functools.cache
def _crl_rules() -> Any:
    return crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )


@functools.cache
def _ocsp_rules() -> Any:
    return ocsp.create_pkix_ocsp_response_validator_container(
        [
            ocsp.create_response_decoder(),
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [],
    )


def lint_crl(octets: bytes) -> list[str]:
    """Findings of the level error or above in a CRL, as text."""
    found = loader.RFC5280CertificateListDocumentLoader()
    return _faults(_crl_rules(), found.load_der_document(octets, "crl"))


def lint_ocsp_response(octets: bytes) -> list[str]:
    """Findings of the level error or above in an OCSP response, as text."""
    found = loader.RFC6960OCSPResponseDocumentLoader()
    return _faults(_ocsp_rules(), found.load_der_document(octets, "response"))


def lint_certificate(found: x509.Certificate) -> list[str]:
    """Findings of the level error or above, as text."""
    document = loader.load_certificate(found.public_bytes(Encoding.DER), "certificate")
    return _faults(_rules(), document)


def _faults(rules: Any, document: Any) -> list[str]:
    return [
        f"{description.finding.code} at {result.node.path}: {description.message}"
        for result in rules.validate(document.root)
        for description in result.finding_descriptions
        if description.finding.severity in FAULTS
    ]
