"""``ChangeSubjectName``: a renewal that asks for other names.

Pure. The request keeps the names of the certificate that is renewed; the attribute
holds those that the new one shall have.

**Source:** RFC 6402 section 2.8; RFC 7030 section 4.2.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name, decode_general_names
from pkid.messages.pkcs10 import CertificationRequest


@dataclass(frozen=True, slots=True)
class ChangeSubjectName:
    """The names wanted; at least one of both.

    :ivar subject: None leaves the subject empty.
    """

    subject: Name | None
    alternative_names: tuple[GeneralName, ...]

    @classmethod
    def of(cls, csr: CertificationRequest) -> ChangeSubjectName | None:
        """That of a request; None when it has none.

        :raises PKIError: ``MALFORMED``.
        """
        found = [
            one for one in csr.attributes if one.oid == oids.ID_CMC_CHANGE_SUBJECT_NAME
        ]
        if not found:
            return None
        if len(found) > 1 or len(found[0].values) != 1:
            der.malformed("ChangeSubjectName has not exactly one value")
        return cls.decode(found[0].values[0])

    @classmethod
    def decode(cls, octets: bytes) -> ChangeSubjectName:
        """Read a whole value. Both fields are sequences; a name's has sets within.

        :raises PKIError: ``MALFORMED``, also when both fields are missing.
        """
        cursor = der.Cursor(der.single(octets, der.SEQUENCE))
        subject: Name | None = None
        names: tuple[GeneralName, ...] = ()
        first = cursor.raw(der.SEQUENCE)
        if _is_name(first):
            subject = Name.decode(first)
            if cursor:
                names = decode_general_names(cursor.take(der.SEQUENCE))
        else:
            names = decode_general_names(der.single(first, der.SEQUENCE))
        cursor.finish()
        return cls(subject, names)


def _is_name(octets: bytes) -> bool:
    contents = der.Cursor(der.single(octets, der.SEQUENCE))
    return not contents or contents.at(der.SET)
