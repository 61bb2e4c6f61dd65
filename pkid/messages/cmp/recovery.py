"""Key recovery: krp. The request, krr, is ``CertReqMessages`` as others are.

Pure.

**Source:** RFC 9810 sections 5.3.7 and 5.3.8, appendix F.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der
from pkid.messages.cmp.keypairs import CertifiedKeyPair
from pkid.messages.cmp.lists import (
    encode_elements,
    optional_certificates,
    optional_elements,
)
from pkid.messages.cmp.status import PKIStatusInfo
from pkid.messages.opentypes import checked_sequence

MAX_KEY_PAIRS: Final = 64

_NEW_SIG_CERT: Final = 0xA0
_CA_CERTS: Final = 0xA1
_KEY_PAIR_HIST: Final = 0xA2


@dataclass(frozen=True, slots=True)
class KeyRecRepContent:
    """krp: a new certificate, and the key pairs of the past.

    :ivar new_sig_cert: certificate, whole.
    :ivar ca_certs: certificates, each whole; () when absent.
    :ivar key_pair_hist: () when absent.
    """

    status: PKIStatusInfo
    new_sig_cert: bytes | None = None
    ca_certs: tuple[bytes, ...] = ()
    key_pair_hist: tuple[CertifiedKeyPair, ...] = ()

    @classmethod
    def decode(cls, element: bytes) -> KeyRecRepContent:
        """Read ``KeyRecRepContent``, whole.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(element, der.SEQUENCE))
        status = PKIStatusInfo.decode(cursor.take(der.SEQUENCE))
        new_sig_cert = cursor.optional(_NEW_SIG_CERT)
        ca_certs = optional_certificates(cursor, _CA_CERTS)
        pairs = optional_elements(cursor, _KEY_PAIR_HIST, MAX_KEY_PAIRS)
        cursor.finish()
        return cls(
            status,
            None if new_sig_cert is None else checked_sequence(new_sig_cert),
            ca_certs,
            tuple(
                CertifiedKeyPair.decode(der.single(pair, der.SEQUENCE))
                for pair in pairs
            ),
        )

    def encode(self) -> bytes:
        """The ``KeyRecRepContent`` SEQUENCE."""
        certificate = self.new_sig_cert
        return der.sequence(
            self.status.encode(),
            b"" if certificate is None else der.explicit(0, certificate),
            encode_elements(1, self.ca_certs),
            encode_elements(2, tuple(pair.encode() for pair in self.key_pair_hist)),
        )
