"""CMS enveloped data: decrypt with a private key or a password.

Pure. It goes in two steps, so that whoever holds the private key need not see the
content: `recover_key` (with the private key) or `recover_key_with_password` give the
content's key, and `decrypt_content` or `decrypt_authenticated_content` open the content
with it. `decrypt` is both in one.

A wrong key does not always show: content in CBC mode is not authenticated, and one
wrong key in 256 leaves something that looks padded. Then nonsense comes out, and the
caller's reading of it fails; it must answer that as it answers ``BAD_MESSAGE_CHECK``.

**Source:** RFC 5652 section 6, RFC 5083, RFC 3218 section 2.3, RFC 9481 sections 4 and
5, RFC 9629 section 3.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import rsa

from pkid.asn1.cms.content import (
    CertificateIdentifier,
)
from pkid.asn1.cms.enveloped import (
    AuthEnvelopedData,
    EncryptedContentInfo,
    EnvelopedData,
)
from pkid.asn1.cms.recipients import (
    KEMRecipientInfo,
    KeyAgreeRecipientInfo,
    KeyTransRecipientInfo,
    OriginatorPublicKey,
    PasswordRecipientInfo,
    RecipientInfo,
    RecipientKeyIdentifier,
)
from pkid.crypto.algorithms import refuse
from pkid.crypto.certificates import Certificate
from pkid.crypto.contentciphers import (
    CBCEncryption,
    GCMEncryption,
    RandomSource,
    decode_content_encryption,
    undecryptable,
)
from pkid.crypto.envelope import associated_data
from pkid.crypto.identifiers import is_named, key_identifier_of
from pkid.crypto.kem import (
    KEMPrivateKey,
    decapsulate,
    is_kem_private_key,
)
from pkid.crypto.kem import derive_kek as derive_kem_kek
from pkid.crypto.keyagreement import (
    AgreementPrivateKey,
    AgreementPublicKey,
    agree,
    check_scheme,
    derive_kek,
    is_agreement_private_key,
    load_originator_key,
)
from pkid.crypto.keytransport import (
    recover_transported_key,
)
from pkid.crypto.keywrap import unwrap_key
from pkid.crypto.passwordkeys import (
    PBKDF2Parameters,
    unwrap_under_password,
)
from pkid.errors import ErrorCode, PKIError

DecryptionKey = rsa.RSAPrivateKey | AgreementPrivateKey | KEMPrivateKey


# --- decrypting: the key ------------------------------------------------------


def find_recipient_info(
    recipient_infos: tuple[RecipientInfo, ...],
    private_key: DecryptionKey,
    certificate: Certificate | None = None,
) -> RecipientInfo:
    """The recipient information that is for this key.

    :param certificate: of the key; when None, the first of the key's kind is taken
        (CMP: whoever gets a certificate encrypted to its key cannot know its name yet).
    :raises PKIError: ``BAD_REQUEST`` when there is none.
    """
    for info in recipient_infos:
        if _is_for_kind(info, private_key) and (
            certificate is None or _names(info, certificate)
        ):
            return info
    raise PKIError(ErrorCode.BAD_REQUEST, "the content is not encrypted to this key")


def _is_for_kind(info: RecipientInfo, private_key: DecryptionKey) -> bool:
    if isinstance(private_key, rsa.RSAPrivateKey):
        return isinstance(info, KeyTransRecipientInfo)
    if is_kem_private_key(private_key):
        return isinstance(info, KEMRecipientInfo)
    return isinstance(info, KeyAgreeRecipientInfo)


def _names(info: RecipientInfo, certificate: Certificate) -> bool:
    if isinstance(info, KeyAgreeRecipientInfo):
        return any(
            _is_identifier(key.rid, certificate)
            for key in info.recipient_encrypted_keys
        )
    return isinstance(
        info, (KeyTransRecipientInfo, KEMRecipientInfo)
    ) and _is_identifier(info.rid, certificate)


def _is_identifier(
    rid: CertificateIdentifier | RecipientKeyIdentifier, certificate: Certificate
) -> bool:
    if isinstance(rid, RecipientKeyIdentifier):
        return rid.subject_key_identifier == key_identifier_of(certificate)
    return is_named(rid, certificate)


def recover_key(
    info: RecipientInfo,
    private_key: DecryptionKey,
    size: int,
    random: RandomSource,
    *,
    certificate: Certificate | None = None,
    originator: AgreementPublicKey | None = None,
) -> bytes:
    """The content's key, by the recipient's private key.

    For RSA always a key of the right size, a random one when the encrypted key is
    wrong; see `pkid.crypto.keytransport`.

    :param info: from `find_recipient_info` for this key.
    :param size: from `content_key_octets`.
    :param certificate: of the key, to choose among several recipients of one agreement.
    :param originator: the sender's key where the message only names its certificate.
    :raises PKIError: ``BAD_ALGORITHM`` when an algorithm is unknown or does not fit the
        key; ``MALFORMED`` for its parameters; ``BAD_MESSAGE_CHECK`` when the key cannot
        be had.
    """
    match info:
        case KeyTransRecipientInfo() if isinstance(private_key, rsa.RSAPrivateKey):
            algorithm = info.key_encryption_algorithm
            return recover_transported_key(
                private_key, algorithm, info.encrypted_key, size, random
            )
        case KeyAgreeRecipientInfo() if is_agreement_private_key(private_key):
            return _recover_agreed(info, private_key, certificate, originator)
        case KEMRecipientInfo() if is_kem_private_key(private_key):
            return _recover_encapsulated(info, private_key)
        case _:
            raise refuse("the way the key was encrypted does not fit this key")


def _recover_agreed(
    info: KeyAgreeRecipientInfo,
    private_key: AgreementPrivateKey,
    certificate: Certificate | None,
    originator: AgreementPublicKey | None,
) -> bytes:
    algorithm = info.key_encryption_algorithm
    check_scheme(algorithm, private_key.public_key())
    if isinstance(info.originator, OriginatorPublicKey):
        originator = load_originator_key(info.originator, private_key)
    if originator is None:
        raise refuse("the originator's certificate is needed to agree upon a key")
    return unwrap_agreed(info, agree(private_key, originator), certificate)


def unwrap_agreed(
    info: KeyAgreeRecipientInfo,
    shared_secret: bytes,
    certificate: Certificate | None = None,
) -> bytes:
    """The content's key, by what was agreed upon with the originator.

    For who has the agreement made elsewhere; `originator_spki` says with which key.

    :param certificate: of our key, to choose among several recipients.
    :raises PKIError: ``BAD_ALGORITHM``, ``MALFORMED``; ``BAD_MESSAGE_CHECK``.
    """
    kek = derive_kek(info.key_encryption_algorithm, shared_secret, info.ukm)
    for key in info.recipient_encrypted_keys:
        if certificate is None or _is_identifier(key.rid, certificate):
            return unwrap_key(kek, key.encrypted_key)
    raise undecryptable()


def _recover_encapsulated(info: KEMRecipientInfo, private_key: KEMPrivateKey) -> bytes:
    return unwrap_encapsulated(info, decapsulate(private_key, info.kem, info.kemct))


def unwrap_encapsulated(info: KEMRecipientInfo, shared_secret: bytes) -> bytes:
    """The content's key, by the secret that was decapsulated.

    For who has that done elsewhere.

    :raises PKIError: ``BAD_ALGORITHM``, ``MALFORMED``; ``BAD_MESSAGE_CHECK``.
    """
    kek = derive_kem_kek(
        info.kdf, info.wrap, shared_secret, size=info.kek_length, ukm=info.ukm
    )
    return unwrap_key(kek, info.encrypted_key)


def recover_key_with_password(
    recipient_infos: tuple[RecipientInfo, ...], password: bytes
) -> bytes:
    """The content's key, by a password.

    Only the first ``PasswordRecipientInfo`` is tried: each costs a derivation.

    :raises PKIError: ``BAD_REQUEST`` when there is none; ``BAD_ALGORITHM``,
        ``MALFORMED``; ``BAD_MESSAGE_CHECK`` for a wrong password.
    """
    for info in recipient_infos:
        if isinstance(info, PasswordRecipientInfo):
            if info.key_derivation_algorithm is None:
                raise refuse("a password recipient without key derivation")
            return unwrap_under_password(
                PBKDF2Parameters.decode(info.key_derivation_algorithm),
                info.key_encryption_algorithm,
                password,
                info.encrypted_key,
            )
    raise PKIError(ErrorCode.BAD_REQUEST, "the content is not encrypted to a password")


# --- decrypting: the content --------------------------------------------------


def content_key_octets(info: EncryptedContentInfo, *, legacy: bool = False) -> int:
    """Size of the content's key.

    :param legacy: take DES and triple DES.
    :raises PKIError: ``BAD_ALGORITHM``, ``MALFORMED``.
    """
    encryption = decode_content_encryption(info.algorithm, legacy=legacy)
    return encryption.cipher.key_octets


def decrypt_content(
    enveloped: EnvelopedData, key: bytes, *, legacy: bool = False
) -> bytes:
    """Open the content of ``EnvelopedData``.

    The content is not authenticated: whoever acts on it needs a signature or a MAC
    around it.

    :raises PKIError: ``BAD_ALGORITHM``, ``MALFORMED``; ``BAD_MESSAGE_CHECK`` for a
        wrong key or damaged content.
    """
    info = enveloped.encrypted_content_info
    encryption = decode_content_encryption(info.algorithm, legacy=legacy)
    if not isinstance(encryption, CBCEncryption):
        raise refuse(f"{encryption.cipher.value} is for AuthEnvelopedData")
    if len(key) != encryption.cipher.key_octets:
        raise undecryptable()
    return encryption.decrypt(key, _encrypted_content(info))


def decrypt_authenticated_content(enveloped: AuthEnvelopedData, key: bytes) -> bytes:
    """Open the content of ``AuthEnvelopedData``; attributes are covered too.

    :raises PKIError: as `decrypt_content`.
    """
    info = enveloped.encrypted_content_info
    encryption = decode_content_encryption(info.algorithm)
    if not isinstance(encryption, GCMEncryption):
        raise refuse(f"{encryption.cipher.value} is not for AuthEnvelopedData")
    if len(key) != encryption.cipher.key_octets:
        raise undecryptable()
    associated = associated_data(enveloped.authenticated_attributes_octets)
    return encryption.decrypt(key, _encrypted_content(info), enveloped.mac, associated)


def _encrypted_content(info: EncryptedContentInfo) -> bytes:
    if info.encrypted_content is None:
        raise PKIError(ErrorCode.BAD_REQUEST, "the encrypted content is missing")
    return info.encrypted_content


def decrypt(
    enveloped: EnvelopedData | AuthEnvelopedData,
    private_key: DecryptionKey,
    random: RandomSource,
    *,
    certificate: Certificate | None = None,
    legacy: bool = False,
) -> bytes:
    """Decrypt with a private key.

    :param certificate: of the key; see `find_recipient_info`.
    :param legacy: take DES and triple DES.
    :raises PKIError: ``BAD_REQUEST`` when it is not for this key; ``BAD_ALGORITHM``,
        ``MALFORMED``; ``BAD_MESSAGE_CHECK`` for all that is wrong beyond.
    """
    size = content_key_octets(enveloped.encrypted_content_info, legacy=legacy)
    info = find_recipient_info(enveloped.recipient_infos, private_key, certificate)
    key = recover_key(info, private_key, size, random, certificate=certificate)
    return _open(enveloped, key, legacy=legacy)


def decrypt_with_password(
    enveloped: EnvelopedData | AuthEnvelopedData, password: bytes
) -> bytes:
    """Decrypt with a password.

    :raises PKIError: as `recover_key_with_password` and `decrypt_content`.
    """
    content_key_octets(enveloped.encrypted_content_info)
    key = recover_key_with_password(enveloped.recipient_infos, password)
    return _open(enveloped, key, legacy=False)


def _open(
    enveloped: EnvelopedData | AuthEnvelopedData, key: bytes, *, legacy: bool
) -> bytes:
    if isinstance(enveloped, EnvelopedData):
        return decrypt_content(enveloped, key, legacy=legacy)
    return decrypt_authenticated_content(enveloped, key)
