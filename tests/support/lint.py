"""pkilint's PKIX rules in this process: what they find wrong with a certificate."""

from __future__ import annotations

import functools
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint import loader
from pkilint.pkix import certificate, extension, name
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


def lint_certificate(found: x509.Certificate) -> list[str]:
    """Findings of the level error or above, as text."""
    document = loader.load_certificate(found.public_bytes(Encoding.DER), "certificate")
    return [
        f"{description.finding.code} at {result.node.path}: {description.message}"
        for result in _rules().validate(document.root)
        for description in result.finding_descriptions
        if description.finding.severity in FAULTS
    ]
