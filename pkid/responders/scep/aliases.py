"""What the configuration says of one SCEP entrance, beyond the engine's own `Alias`.

The defaults are what RFC 8894 asks for; everything older is behind a switch, because
a client's list of wishes must never take a server below its policy (SCEP-58).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pkid.crypto.contentciphers import ContentCipher
from pkid.engine.aliases import Alias
from pkid.engine.exchange import ExchangeKind
from pkid.errors import ErrorCode, PKIError

CA_CERTIFICATES: Final = ("chain", "without-root", "ra")
INCLUDE_CHAIN: Final = ("none", "issuer", "full")
UNKNOWN_REQUESTERS: Final = ("refuse", "pend")
UPDATE_REQUESTS: Final = ("refuse", "renew")

_ALWAYS: Final = frozenset(
    (
        ContentCipher.AES_128_CBC,
        ContentCipher.AES_192_CBC,
        ContentCipher.AES_256_CBC,
        ContentCipher.AES_128_GCM,
        ContentCipher.AES_192_GCM,
        ContentCipher.AES_256_GCM,
    )
)
_DIGESTS: Final = frozenset(("sha224", "sha256", "sha384", "sha512"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SCEPAlias:
    """One SCEP entrance.

    :ivar alias: what the engine knows of it.
    :ivar identity: how the CA speaks: by an RA certificate, a pair, or itself.
    :ivar identity_key: kind of the RA's key.
    :ivar capabilities: lines of GetCACaps instead of those that follow from the rest.
    :ivar static_challenge: take challenges that may be used any number of times by
        anybody who knows them.
    :ivar unknown_requesters: a request without a challenge is refused, or waits for an
        approver.
    :ivar update_requests: messageType 18 of old drafts is refused, or taken for 17.
    :ivar validator: name of the web service that judges challenges, "" for none.
    :ivar allow_sha1: take SHA-1 in messages and proofs of possession, and answer so.
    :ivar allow_md5: likewise MD5.
    :ivar allow_des3: take and answer triple DES.
    :ivar allow_des: likewise single DES.
    :ivar ca_certificates: what GetCACert gives.
    :ivar include_chain: what stands beside the certificate in an answer.
    :ivar include_signer: whether an answer carries the certificate that signed it.
    :ivar sort_certificates: put the certificates of an answer in DER order.
    :ivar empty_content: PENDING and FAILURE carry an empty content instead of none:
        OpenSSL's clients (certmonger) cannot verify a signature over nothing.
    :ivar fail_info_text: say in words why a request was refused.
    :ivar signing_time_window: refuse messages whose signingTime is further off.
    :ivar signature_profile: for requests whose key usage is to sign only; "" for none.
    :ivar encryption_profile: likewise to encrypt only.
    :ivar ndes: serve the page that gives out challenges, as NDES does.
    :ivar ndes_validity: how long a challenge of that page lives.
    :ivar ndes_outstanding: how many of them may be unused at a time.
    :raises PKIError: ``BAD_REQUEST`` on construction for values that are none.
    """

    alias: Alias
    identity: ExchangeKind = ExchangeKind.RA
    identity_key: str = "rsa:2048"
    capabilities: tuple[str, ...] = ()
    static_challenge: bool = False
    unknown_requesters: str = "refuse"
    update_requests: str = "refuse"
    validator: str = ""
    allow_sha1: bool = False
    allow_md5: bool = False
    allow_des3: bool = False
    allow_des: bool = False
    ca_certificates: str = "chain"
    include_chain: str = "none"
    include_signer: bool = True
    sort_certificates: bool = False
    empty_content: bool = True
    fail_info_text: bool = True
    signing_time_window: timedelta | None = None
    signature_profile: str = ""
    encryption_profile: str = ""
    ndes: bool = False
    ndes_validity: timedelta = timedelta(minutes=60)
    ndes_outstanding: int = 5

    def __post_init__(self) -> None:
        for name, known in (
            ("ca_certificates", CA_CERTIFICATES),
            ("include_chain", INCLUDE_CHAIN),
            ("unknown_requesters", UNKNOWN_REQUESTERS),
            ("update_requests", UPDATE_REQUESTS),
        ):
            if getattr(self, name) not in known:
                raise _fault(f"{name} is one of {', '.join(known)}")
        if self.unknown_requesters == "pend" and self.alias.approval == "automatic":
            raise _fault("unknown_requesters = pend needs an approval rule")
        if not self.identity_key.startswith("rsa:"):
            raise _fault("identity_key is RSA: SCEP's clients encrypt to nothing else")

    @property
    def name(self) -> str:
        """The label in URLs."""
        return self.alias.name

    def admits_digest(self, name: str) -> bool:
        """Whether messages may use this digest."""
        if name == "sha1":
            return self.allow_sha1
        if name == "md5":
            return self.allow_md5
        return name in _DIGESTS

    def admits_cipher(self, cipher: ContentCipher) -> bool:
        """Whether requests may be encrypted so."""
        if cipher is ContentCipher.TRIPLE_DES_CBC:
            return self.allow_des3
        if cipher is ContentCipher.DES_CBC:
            return self.allow_des
        return cipher in _ALWAYS


def _fault(detail: str) -> PKIError:
    return PKIError(ErrorCode.BAD_REQUEST, detail)
