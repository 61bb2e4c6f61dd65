"""What the configuration says of one CMP entrance, beyond the engine's own `Alias`.

The defaults serve `openssl cmp` 3.0 and equipment in the field: what a client may leave
out by RFC 9810 it may leave out here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pkid.crypto.mac import MAX_ITERATIONS, MIN_ITERATIONS
from pkid.engine.aliases import Alias
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType

CONFORMANCE: Final = ("rfc", "lcmpp")
SIGNERS: Final = ("own", "authority")
RESPONSE_PROTECTION: Final = ("mirror", "signature", "kem")

#: What may become of messages for a CA elsewhere.
FORWARD: Final = "forward"
PROTECT: Final = "protect"
REPROTECT: Final = "reprotect"
UPSTREAM_MODES: Final = (FORWARD, PROTECT, REPROTECT)

NULL_PARAMETERS: Final = "null-parameters"
PLAIN_ACCEPTED: Final = "plain-accepted"
UTC_MESSAGE_TIME: Final = "utc-message-time"
CA_PUBS_ALWAYS: Final = "ca-pubs-always"
NEW_CERTIFICATE_CONFIRMS: Final = "new-certificate-confirms"

#: Leniencies by name: which peer needs each, and what it lets pass.
QUIRKS: Final = {
    NULL_PARAMETERS: (
        "cryptlib and other old signers write NULL parameters in ECDSA and EdDSA "
        "protectionAlg, where they must be absent"
    ),
    PLAIN_ACCEPTED: (
        "base stations that give up when told grantedWithMods are told accepted, also "
        "where the certificate differs from what they asked for"
    ),
    UTC_MESSAGE_TIME: (
        "equipment built to ERTMS/ETCS Subset-137 writes messageTime as UTCTime"
    ),
    CA_PUBS_ALWAYS: (
        "equipment built to ERTMS/ETCS Subset-137 expects caPubs in every ip, also "
        "when a certificate of this PKI signed the ir"
    ),
    NEW_CERTIFICATE_CONFIRMS: (
        "equipment built to ERTMS/ETCS Subset-137 proves an ir by a secret and signs "
        "the certConf with the certificate that it just got"
    ),
}


# A password stands in the first message of a transaction and opens it; what follows is
# bound to it by its nonces.
_WITH_TOKEN: Final = frozenset(
    (
        BodyType.IR,
        BodyType.CR,
        BodyType.P10CR,
        BodyType.CERT_CONF,
        BodyType.POLL_REQ,
        BodyType.ERROR,
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CMPAlias:
    """One CMP entrance.

    :ivar alias: what the engine knows of it.
    :ivar preset: which defaults the configuration put under its own; "" for none.
    :ivar conformance: "rfc": RFC 9810 rules, tolerant; "lcmpp": those of
        `pkid.responders.cmp.strict` too.
    :ivar implicit_confirm: grant implicitConfirm to clients that ask for it.
    :ivar confirm_wait: how long a certificate waits for its certConf.
    :ivar message_time_window: refuse messages further off than this; None takes any.
    :ivar allow_sha1: take SHA-1 signatures (MACs with SHA-1 are always taken).
    :ivar response_protection: "mirror" answers as the request was protected,
        "signature" always signs, "kem" always uses the KEM key of the authority.
    :ivar signer: whose key signs: "own", one made for messages, or the "authority"'s.
    :ivar fresh_salt: draw a new MAC salt for each answer instead of the request's:
        costs a second key derivation.
    :ivar maximum_iterations: refuse MACs that would cost more.
    :ivar tcp_polling: let clients on raw TCP wait by TCP-level polling records.
    :ivar ca_pubs: send the root in caPubs of ip.
    :ivar extra_certs_root: send the root in extraCerts too.
    :ivar several_requests: take messages that ask for more than one certificate.
    :ivar poll_after: when waiting clients ask again; None takes the approval rule's.
    :ivar unprotected_requests: take requests that nobody protected, from anybody.
    :ivar registration_token: take a password in the body of an unprotected request.
    :ivar profile_by_reference: the reference value of a shared secret names the
        certificate profile, as EJBCA's KeyId does.
    :ivar reference_by_subject: the subject asked for names the shared secret by the
        alias's name rule, and not senderKID, as in EJBCA's client mode.
    :ivar kem: offer MACs from KEM keys, the client's or the authority's own.
    :ivar agreement: take MACs that both sides' Diffie-Hellman keys give.
    :ivar raverified: take raVerified from the alias's registration authorities.
    :ivar encrypted_value: answer clients of version 2 with EncryptedValue where
        something must be encrypted, a certificate or a key; else they are refused.
    :ivar key_transport: "oaep" or "pkcs1": how content keys go to RSA keys.
    :ivar quirks: names from `QUIRKS`.
    :ivar upstream_mode: what becomes of messages where ``alias.upstream`` names a CA:
        see `pkid.responders.cmp.upstream`.
    :ivar upstream_verify: verify who sent a message also where the CA gets it as it is.
    :raises PKIError: ``BAD_REQUEST`` on construction for what is not offered.
    """

    alias: Alias
    preset: str = ""
    conformance: str = "rfc"
    implicit_confirm: bool = True
    confirm_wait: timedelta = timedelta(minutes=5)
    message_time_window: timedelta | None = None
    allow_sha1: bool = False
    response_protection: str = "mirror"
    signer: str = "own"
    fresh_salt: bool = False
    maximum_iterations: int = MAX_ITERATIONS
    tcp_polling: bool = False
    ca_pubs: bool = True
    extra_certs_root: bool = True
    several_requests: bool = True
    poll_after: timedelta | None = None
    unprotected_requests: bool = False
    registration_token: bool = False
    profile_by_reference: bool = False
    reference_by_subject: bool = False
    kem: bool = False
    agreement: bool = False
    raverified: bool = True
    encrypted_value: bool = False
    key_transport: str = "oaep"
    quirks: frozenset[str] = frozenset()
    upstream_mode: str = FORWARD
    upstream_verify: bool = False

    def __post_init__(self) -> None:
        self._check_choices()
        if self.response_protection == "kem" and not self.kem:
            raise _fault('response_protection = "kem" needs kem = true')
        if not MIN_ITERATIONS <= self.maximum_iterations <= MAX_ITERATIONS:
            raise _fault(f"maximum_iterations is {MIN_ITERATIONS} to {MAX_ITERATIONS}")
        if self.confirm_wait <= timedelta(0):
            raise _fault("confirm_wait must be positive")
        unknown = self.quirks - QUIRKS.keys()
        if unknown:
            raise _fault(f"unknown quirks: {', '.join(sorted(unknown))}")

    def _check_choices(self) -> None:
        if self.conformance not in CONFORMANCE:
            raise _fault('conformance is "rfc" or "lcmpp"')
        if self.signer not in SIGNERS:
            raise _fault('signer is "own" or "authority"')
        if self.response_protection not in RESPONSE_PROTECTION:
            raise _fault('response_protection is "mirror", "signature" or "kem"')
        if self.upstream_mode not in UPSTREAM_MODES:
            raise _fault('upstream_mode is "forward", "protect" or "reprotect"')

    @property
    def relays(self) -> bool:
        """Whether a CA elsewhere gets the messages of devices as they came."""
        return bool(self.alias.upstream) and self.upstream_mode != REPROTECT

    @property
    def verifies(self) -> bool:
        """Whether it is verified here who sent a message."""
        return self.upstream_verify or not self.relays

    def takes_unprotected(self, body_type: BodyType | None) -> bool:
        """Whether a message of this kind is looked at when nothing protects it."""
        token = self.registration_token and body_type in _WITH_TOKEN
        return self.unprotected_requests or token

    @property
    def name(self) -> str:
        """The label in URLs."""
        return self.alias.name


def _fault(detail: str) -> PKIError:
    return PKIError(ErrorCode.BAD_REQUEST, detail)
