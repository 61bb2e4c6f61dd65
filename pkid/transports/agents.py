"""What makes connections to web services elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from OpenSSL.crypto import Error as CryptoError
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS

_PEM_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_PEM_END: Final = "-----END CERTIFICATE-----"
_NO_CERTIFICATE: Final = "the file holds no certificate in PEM"


def make_agent(
    reactor: Any,  # noqa: ANN401 - the global one, which has many interfaces
    *,
    roots: Sequence[str],
    seconds: float,
) -> Agent:
    """An agent that checks names and certificates of those it connects to.

    :param roots: PEM of the roots that are trusted; none: those of the system.
    :param seconds: for a connection to be made.
    """
    if not roots:
        return Agent(reactor, connectTimeout=seconds)
    found = [Certificate.loadPEM(one.encode("ascii")) for one in roots]
    policy = BrowserLikePolicyForHTTPS(trustRootFromCertificates(found))
    return Agent(reactor, policy, connectTimeout=seconds)


def split_roots(text: str) -> tuple[str, ...]:
    """The certificates of a PEM file, each by itself.

    :raises ValueError: there is none, or one cannot be read.
    """
    found = tuple(
        f"{part}{_PEM_END}\n" for part in text.split(_PEM_END) if _PEM_BEGIN in part
    )
    if not found:
        raise ValueError(_NO_CERTIFICATE)
    try:
        for one in found:
            Certificate.loadPEM(one.encode("ascii"))
    except CryptoError:
        raise ValueError(_NO_CERTIFICATE) from None
    return found
