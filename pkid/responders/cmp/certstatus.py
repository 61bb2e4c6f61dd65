"""What a client says of one certificate in certConf.

**Source:** RFC 9810 section 5.3.18.
"""

from __future__ import annotations

import hmac
from typing import Final

from pkid.crypto.algorithms import digest, hash_name_of
from pkid.engine.model import CertificateReference
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import CertStatus
from pkid.messages.cmp.header import CMP2021
from pkid.messages.cmp.status import PKIStatus
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.protection import printable

BY_OMISSION: Final = "rejected by omission"

_TAKEN: Final = frozenset((PKIStatus.ACCEPTED, PKIStatus.GRANTED_WITH_MODS))


def rejection_of(status: CertStatus) -> str:
    """Why the client does not take its certificate; "" when it does.

    :raises PKIError: ``BAD_REQUEST`` for a status that is neither.
    """
    info = status.status_info
    if info is None:
        return ""
    if info.status in _TAKEN:
        if info.fail_info:
            raise PKIError(ErrorCode.BAD_REQUEST, "status accepted with failInfo")
        return ""
    if info.status is not PKIStatus.REJECTION:
        raise PKIError(ErrorCode.BAD_REQUEST, "a certificate is accepted or rejected")
    text = printable(info.strings[0]) if info.strings else "no reason given"
    return f"rejected by the client: {text}"


async def is_hash_right(
    engine: Engine,
    status: CertStatus,
    *,
    pvno: int,
    certificate: CertificateReference | None,
    cert_hash: bytes,
) -> bool:
    """Whether ``certHash`` is that of the certificate.

    :param pvno: of the message.
    :param cert_hash: the one to be shown when the client names no ``hashAlg``.
    :raises PKIError: ``BAD_REQUEST`` for ``hashAlg`` in version 2, ``BAD_ALGORITHM``.
    """
    if status.hash_alg is not None and certificate is not None:
        if pvno != CMP2021:
            raise PKIError(ErrorCode.BAD_REQUEST, "hashAlg needs pvno 3")
        name = hash_name_of(status.hash_alg)
        cert_hash = digest(name, await engine.certificate_der(certificate))
    return hmac.compare_digest(status.cert_hash, cert_hash)
