"""Whether a renewal asks for the names that its certificate has.

Subjects are compared as RFC 5280 section 7.1 says, alternative names as a set.

**Source:** RFC 7030 section 4.2.2; RFC 6402 section 2.8 (ChangeSubjectName).
"""

from __future__ import annotations

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name, decode_general_names
from pkid.asn1.x509 import Extension
from pkid.crypto.certificates import Certificate, subject_alternative_names
from pkid.errors import ErrorCode, PKIError
from pkid.responders.est.aliases import ESTAlias


def check_same_names(
    alias: ESTAlias,
    certificate: Certificate,
    subject: Name,
    extensions: tuple[Extension, ...],
) -> None:
    """Refuse a renewal under other names.

    :param certificate: the one that is renewed.
    :param extensions: of the request.
    :raises PKIError: ``BAD_TEMPLATE``; ``MALFORMED``.
    """
    if not subject.matches(certificate.subject):
        raise PKIError(
            ErrorCode.BAD_TEMPLATE,
            "the subject is not that of the certificate to be renewed",
        )
    asked = alternative_names(extensions)
    held = subject_alternative_names(certificate)
    if asked is None and alias.missing_names == "copy":
        # strongSwan leaves them out unless the user repeats each.
        return
    if set(asked or ()) != set(held):
        raise PKIError(
            ErrorCode.BAD_TEMPLATE,
            "the alternative names are not those of the certificate to be renewed",
        )


def alternative_names(
    extensions: tuple[Extension, ...],
) -> tuple[GeneralName, ...] | None:
    """Alternative names asked for; None when the request is silent.

    :raises PKIError: ``MALFORMED``.
    """
    for extension in extensions:
        if extension.oid == oids.ID_CE_SUBJECT_ALT_NAME:
            return decode_general_names(der.single(extension.value, der.SEQUENCE))
    return None
