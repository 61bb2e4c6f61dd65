"""CMS enveloped data: encrypt for somebody.

Pure, but for RSA padding, ephemeral keys and KEMs, whose random numbers OpenSSL draws
itself; the content's key, vectors and salts come from the `RandomSource` given.
`pkid.crypto.decryption` is the way back.

**Source:** RFC 5652 section 6, RFC 5083, RFC 9810 section 5.2.2, RFC 9481 sections 4
and 5, RFC 9629 section 3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from pkid.asn1 import der, oids
from pkid.asn1.cms.content import (
    Attribute,
    CertificateIdentifier,
    SubjectKeyIdentifier,
    encode_attributes,
)
from pkid.asn1.cms.enveloped import (
    AuthEnvelopedData,
    EncryptedContentInfo,
    EnvelopedData,
)
from pkid.asn1.cms.recipients import (
    KEMRecipientInfo,
    KeyAgreeRecipientIdentifier,
    KeyAgreeRecipientInfo,
    KeyTransRecipientInfo,
    PasswordRecipientInfo,
    RecipientEncryptedKey,
    RecipientInfo,
    RecipientKeyIdentifier,
    version_for,
)
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import PublicKey, refuse
from pkid.crypto.certificates import Certificate
from pkid.crypto.contentciphers import (
    CBCEncryption,
    ContentCipher,
    GCMEncryption,
    RandomSource,
)
from pkid.crypto.extensions import KEY_USAGE_BITS
from pkid.crypto.identifiers import identifier_of
from pkid.crypto.kem import (
    HKDF_SHA256,
    KEMPublicKey,
    encapsulate,
    is_kem_public_key,
    kem_algorithm,
)
from pkid.crypto.kem import derive_kek as derive_kem_kek
from pkid.crypto.keyagreement import (
    AgreementPublicKey,
    agree,
    agreement_algorithm,
    check_scheme,
    derive_kek,
    is_agreement_public_key,
    make_ephemeral,
    originator_key,
)
from pkid.crypto.keytransport import (
    RSA_PKCS1,
    transport_key,
)
from pkid.crypto.keywrap import AES_256_WRAP, kek_octets, wrap_key
from pkid.crypto.passwordkeys import (
    HMAC_SHA256,
    SALT_OCTETS,
    PBKDF2Parameters,
    pwri_kek_algorithm,
    wrap_under_password,
)
from pkid.errors import ErrorCode, PKIError

DEFAULT_ITERATIONS: Final = 100_000

_KEY_ENCIPHERMENT: Final = KEY_USAGE_BITS["keyEncipherment"]
_KEY_AGREEMENT: Final = KEY_USAGE_BITS["keyAgreement"]


# --- recipients ---------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKeyRecipient:
    """Somebody with a key: RSA, EC, X25519, X448 or ML-KEM decides the way.

    :ivar rid: how the recipient finds itself.
    :ivar algorithm: key transport or key agreement algorithm other than the default
        (PKCS #1 v1.5, standard ECDH); for ML-KEM always None.
    """

    rid: CertificateIdentifier
    public_key: PublicKey
    algorithm: AlgorithmIdentifier | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordRecipient:
    """Somebody who shares a password.

    :ivar password: octets; not shown.
    :ivar iterations: 100 to 100,000; the derivation is long enough for a thread.
    :ivar pwri_kek: wrap as RFC 3211 does instead of with AES key wrap: OpenSSL's
        clients know no other way.
    """

    password: bytes = field(repr=False)
    iterations: int = DEFAULT_ITERATIONS
    prf: AlgorithmIdentifier = HMAC_SHA256
    pwri_kek: bool = False


Recipient = PublicKeyRecipient | PasswordRecipient


def recipient_of(
    certificate: Certificate, *, algorithm: AlgorithmIdentifier | None = None
) -> PublicKeyRecipient:
    """The owner of a certificate, if its key may be used to encrypt.

    :param algorithm: as in `PublicKeyRecipient`.
    :raises PKIError: ``NOT_AUTHORIZED`` when ``keyUsage`` does not allow it;
        ``BAD_ALGORITHM`` when the key can only sign; ``BAD_TEMPLATE`` when it is
        broken; ``MALFORMED``.

    **Source:** RFC 9810 section 5.2.2 (any given key usage extension).
    """
    public_key = certificate.public_key_info.load()
    if is_agreement_public_key(public_key):
        bit, name = _KEY_AGREEMENT, "keyAgreement"
    elif isinstance(public_key, rsa.RSAPublicKey) or is_kem_public_key(public_key):
        bit, name = _KEY_ENCIPHERMENT, "keyEncipherment"
    else:
        raise refuse("the recipient's key cannot be used to encrypt")
    usage = certificate.extension(oids.ID_CE_KEY_USAGE)
    if usage is not None:
        bits = der.decode_named_bits(der.single(usage, der.BIT_STRING))
        if bit not in bits:
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED,
                f"the recipient's certificate does not allow {name}",
            )
    return PublicKeyRecipient(
        rid=identifier_of(certificate), public_key=public_key, algorithm=algorithm
    )


# --- encrypting ---------------------------------------------------------------


def encrypt(
    content: bytes,
    recipients: tuple[Recipient, ...],
    random: RandomSource,
    *,
    cipher: ContentCipher = ContentCipher.AES_256_CBC,
    content_type: str = oids.ID_DATA,
    legacy: bool = False,
) -> EnvelopedData:
    """Encrypt under a fresh key, which every recipient gets.

    :param content: of ``content_type``: for ``id-data`` octets, else DER.
    :param cipher: one in CBC mode.
    :param legacy: allow DES and triple DES, for SCEP's old clients (of the ways to
        hand the key over only RSA takes theirs).
    :raises PKIError: ``BAD_ALGORITHM`` when the cipher is not in CBC mode or not
        accepted, or a recipient's key or algorithm cannot be used.
    """
    if cipher.authenticated:
        raise refuse(f"{cipher.value} is for AuthEnvelopedData")
    if cipher.legacy and not legacy:
        raise refuse(f"content encryption with {cipher.value} is not accepted")
    key = random(cipher.key_octets)
    encryption = CBCEncryption.fresh(cipher, random)
    encrypted = encryption.encrypt(key, content)
    return EnvelopedData.build(
        tuple(_encrypt_key(recipient, key, random) for recipient in recipients),
        EncryptedContentInfo(content_type, encryption.algorithm, encrypted),
    )


def encrypt_authenticated(
    content: bytes,
    recipients: tuple[Recipient, ...],
    random: RandomSource,
    *,
    cipher: ContentCipher = ContentCipher.AES_256_GCM,
    content_type: str = oids.ID_DATA,
) -> AuthEnvelopedData:
    """As `encrypt`, with a cipher in GCM mode, for ``AuthEnvelopedData``.

    :raises PKIError: ``BAD_ALGORITHM``.

    **Source:** RFC 5083 sections 2.1 (attributes only when the content is not
    ``id-data``) and 2.2.
    """
    if not cipher.authenticated:
        raise refuse(f"{cipher.value} is not for AuthEnvelopedData")
    key = random(cipher.key_octets)
    encryption = GCMEncryption.fresh(cipher, random)
    attributes = None
    if content_type != oids.ID_DATA:
        attributes = encode_attributes(
            (Attribute(oids.PKCS9_CONTENT_TYPE, (der.oid(content_type),)),)
        )
    encrypted, mac = encryption.encrypt(key, content, associated_data(attributes))
    return AuthEnvelopedData(
        version=0,
        recipient_infos=tuple(
            _encrypt_key(recipient, key, random) for recipient in recipients
        ),
        encrypted_content_info=EncryptedContentInfo(
            content_type, encryption.algorithm, encrypted
        ),
        authenticated_attributes_octets=attributes,
        mac=mac,
    )


def associated_data(attributes_octets: bytes | None) -> bytes:
    """What the MAC of ``AuthEnvelopedData`` covers beside the content.

    :param attributes_octets: contents octets of ``authAttrs``, or None.

    **Source:** RFC 5083 section 2.2.
    """
    return b"" if attributes_octets is None else der.encode(der.SET, attributes_octets)


def _encrypt_key(
    recipient: Recipient, key: bytes, random: RandomSource
) -> RecipientInfo:
    if isinstance(recipient, PasswordRecipient):
        return _wrap_for_password(recipient, key, random)
    public_key = recipient.public_key
    if isinstance(public_key, rsa.RSAPublicKey):
        return _transport(recipient, public_key, key)
    if is_agreement_public_key(public_key):
        return _agree_for(recipient, public_key, key)
    if is_kem_public_key(public_key) and recipient.algorithm is None:
        return _encapsulate_for(recipient, public_key, key)
    raise refuse("the recipient's key cannot be used to encrypt")


def _transport(
    recipient: PublicKeyRecipient, public_key: rsa.RSAPublicKey, key: bytes
) -> KeyTransRecipientInfo:
    algorithm = recipient.algorithm or RSA_PKCS1
    return KeyTransRecipientInfo(
        version=version_for(recipient.rid),
        rid=recipient.rid,
        key_encryption_algorithm=algorithm,
        encrypted_key=transport_key(public_key, algorithm, key),
    )


def _agree_for(
    recipient: PublicKeyRecipient, public_key: AgreementPublicKey, key: bytes
) -> KeyAgreeRecipientInfo:
    algorithm = recipient.algorithm or agreement_algorithm(public_key)
    check_scheme(algorithm, public_key)
    ephemeral = make_ephemeral(public_key)
    kek = derive_kek(algorithm, agree(ephemeral, public_key), None)
    rid: KeyAgreeRecipientIdentifier
    if isinstance(recipient.rid, SubjectKeyIdentifier):
        rid = RecipientKeyIdentifier(recipient.rid.octets)
    else:
        rid = recipient.rid
    return KeyAgreeRecipientInfo(
        version=3,
        originator=originator_key(ephemeral.public_key()),
        ukm=None,
        key_encryption_algorithm=algorithm,
        recipient_encrypted_keys=(RecipientEncryptedKey(rid, wrap_key(kek, key)),),
    )


def _encapsulate_for(
    recipient: PublicKeyRecipient, public_key: KEMPublicKey, key: bytes
) -> KEMRecipientInfo:
    encapsulation = encapsulate(public_key)
    size = kek_octets(AES_256_WRAP)
    kek = derive_kem_kek(
        HKDF_SHA256, AES_256_WRAP, encapsulation.shared_secret, size=size, ukm=None
    )
    return KEMRecipientInfo(
        version=0,
        rid=recipient.rid,
        kem=kem_algorithm(public_key),
        kemct=encapsulation.ciphertext,
        kdf=HKDF_SHA256,
        kek_length=size,
        ukm=None,
        wrap=AES_256_WRAP,
        encrypted_key=wrap_key(kek, key),
    )


def _wrap_for_password(
    recipient: PasswordRecipient, key: bytes, random: RandomSource
) -> PasswordRecipientInfo:
    derivation = PBKDF2Parameters(
        random(SALT_OCTETS), recipient.iterations, recipient.prf
    )
    algorithm = pwri_kek_algorithm(random) if recipient.pwri_kek else AES_256_WRAP
    wrapped = wrap_under_password(
        derivation, algorithm, recipient.password, key, random
    )
    return PasswordRecipientInfo(
        version=0,
        key_derivation_algorithm=derivation.algorithm,
        key_encryption_algorithm=algorithm,
        encrypted_key=wrapped,
    )
