"""What a CA would like to see in a request: ``CertReqTemplateContent``.

Pure.

**Source:** RFC 9810 section 5.3.19.16, appendix F; RFC 4211 section 5.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pkid.asn1 import der
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.messages.controls import ALG_ID, RSA_KEY_LEN
from pkid.messages.crmf import AttributeTypeAndValue, CertTemplate
from pkid.messages.opentypes import decode_values


@dataclass(frozen=True, slots=True)
class CertReqTemplateContent:
    """What a CA would like to see in a request.

    :ivar cert_template: fields filled in; without a key, a serial number, a signature
        algorithm and unique identifiers.
    :ivar key_spec: the keys that are taken, as controls of CRMF; () when absent.
    """

    cert_template: CertTemplate
    key_spec: tuple[AttributeTypeAndValue, ...] = ()

    @classmethod
    def decode(cls, element: bytes) -> CertReqTemplateContent:
        """Read a ``CertReqTemplateContent``, whole.

        :raises PKIError: ``MALFORMED``, also for a field that must not be there.
        """
        cursor = der.Cursor(der.single(element, der.SEQUENCE))
        template = CertTemplate.decode(cursor.take(der.SEQUENCE))
        controls = cursor.optional_raw(der.SEQUENCE)
        cursor.finish()
        _check_template(template)
        if controls is None:
            return cls(template)
        return cls(template, decode_values(controls, _read_attribute))

    @classmethod
    def build(
        cls,
        cert_template: CertTemplate,
        *,
        algorithms: Iterable[AlgorithmIdentifier] = (),
        rsa_key_lens: Iterable[int] = (),
    ) -> CertReqTemplateContent:
        """Make one from the keys that are taken.

        :param algorithms: other than RSA; one for each named curve.
        :param rsa_key_lens: modulus lengths in bits.
        """
        return cls(
            cert_template,
            (
                *(ALG_ID.attribute(algorithm) for algorithm in algorithms),
                *(RSA_KEY_LEN.attribute(bits) for bits in rsa_key_lens),
            ),
        )

    @property
    def algorithms(self) -> tuple[AlgorithmIdentifier, ...]:
        """The key algorithms that are taken, other than RSA."""
        return ALG_ID.find_all(self.key_spec)

    @property
    def rsa_key_lens(self) -> tuple[int, ...]:
        """The RSA moduli that are taken, in bits."""
        return RSA_KEY_LEN.find_all(self.key_spec)

    def encode(self) -> bytes:
        """The ``CertReqTemplateContent`` SEQUENCE.

        :raises PKIError: ``MALFORMED`` for a field that must not be there.
        """
        _check_template(self.cert_template)
        controls = b""
        if self.key_spec:
            controls = der.sequence(*(control.encode() for control in self.key_spec))
        return der.sequence(self.cert_template.encode(), controls)


def _check_template(template: CertTemplate) -> None:
    # RFC 9810 forbids the key; RFC 4211 section 5 keeps the others out of requests.
    forbidden = (
        template.spki,
        template.serial_number,
        template.signing_alg,
        template.issuer_uid,
        template.subject_uid,
    )
    if any(field is not None for field in forbidden):
        der.malformed("a template of a CA holds a field that belongs to requests")


def _read_attribute(cursor: der.Cursor) -> AttributeTypeAndValue:
    return AttributeTypeAndValue.decode(cursor.take(der.SEQUENCE))
