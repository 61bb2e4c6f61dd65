"""HTTP clients for who has to ask services elsewhere.

An agent brings connections and trust; what is asked is its user's affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS
from twisted.web.iweb import IAgent


def make_agent(
    reactor: Any,  # noqa: ANN401 - it has many interfaces
    *,
    connect_seconds: float,
    roots: Sequence[bytes] = (),
) -> IAgent:
    """An agent that checks the names and chains of servers.

    :param roots: DER of the only roots that count; none takes those of this system.
    """
    if not roots:
        return Agent(reactor, connectTimeout=connect_seconds)
    trusted = [
        Certificate.loadPEM(
            load_der_x509_certificate(octets).public_bytes(Encoding.PEM)
        )
        for octets in roots
    ]
    policy = BrowserLikePolicyForHTTPS(trustRootFromCertificates(trusted))
    return Agent(reactor, policy, connectTimeout=connect_seconds)
