"""What a CA hands over: a certificate, plain or encrypted, and perhaps its key.

Pure.

**Source:** RFC 9810 sections 5.2.2, 5.3.4 and appendix F; RFC 4210 for the form with
``EncryptedValue``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der
from pkid.asn1.constructors import constructor
from pkid.messages.controls import PKIPublicationInfo
from pkid.messages.encryptedkeys import EncryptedKey, decode_encrypted_key

_CERTIFICATE: Final = 0xA0
_ENCRYPTED_CERT: Final = 0xA1
_PRIVATE_KEY: Final = 0xA0
_PUBLICATION_INFO: Final = 0xA1


@dataclass(frozen=True, slots=True)
class CertifiedKeyPair:
    """What was issued; exactly one of the first two is there.

    :ivar certificate: the certificate, whole.
    :ivar encrypted_cert: the certificate, encrypted for the key that it names.
    :ivar private_key: of a key pair that the CA made.
    :ivar publication_info: where the certificate was published.
    """

    certificate: bytes | None = None
    encrypted_cert: EncryptedKey | None = None
    private_key: EncryptedKey | None = None
    publication_info: PKIPublicationInfo | None = None

    @classmethod
    def decode(cls, contents: bytes) -> CertifiedKeyPair:
        """Read the contents octets of ``CertifiedKeyPair``.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        choice = cursor.peek()
        if choice not in {_CERTIFICATE, _ENCRYPTED_CERT}:
            der.malformed("unknown choice in CertOrEncCert")
        chosen = cursor.take(choice)
        if choice == _CERTIFICATE and cursor.position == cursor.stop:
            der.single(chosen, der.SEQUENCE)
            return _make_pair(chosen)
        private_key = cursor.optional(_PRIVATE_KEY)
        publication_info = cursor.optional(_PUBLICATION_INFO)
        cursor.finish()
        certificate: bytes | None = None
        encrypted_cert: EncryptedKey | None = None
        if choice == _CERTIFICATE:
            der.single(chosen, der.SEQUENCE)
            certificate = chosen
        else:
            encrypted_cert = decode_encrypted_key(chosen)
        return cls(
            certificate,
            encrypted_cert,
            None if private_key is None else decode_encrypted_key(private_key),
            None
            if publication_info is None
            else PKIPublicationInfo.decode(publication_info),
        )

    def encode(self) -> bytes:
        """The ``CertifiedKeyPair`` SEQUENCE.

        :raises PKIError: ``MALFORMED`` unless there is exactly one certificate.
        """
        key = self.private_key
        info = self.publication_info
        return der.sequence(
            self._encode_certificate(),
            b"" if key is None else der.explicit(0, key.encode()),
            b"" if info is None else der.explicit(1, info.encode()),
        )

    def _encode_certificate(self) -> bytes:
        encrypted = self.encrypted_cert
        if (self.certificate is None) == (encrypted is None):
            der.malformed("a CertifiedKeyPair holds one certificate, plain or not")
        if encrypted is not None:
            return der.explicit(1, encrypted.encode())
        return der.explicit(0, self.certificate or b"")


_make_pair = constructor(CertifiedKeyPair)
