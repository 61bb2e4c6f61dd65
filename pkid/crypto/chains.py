"""Find and check the chain from a device's or an RA's certificate to a trust anchor.

Pure. This is not the verifier of ``cryptography``, which serves the web: that refuses
Ed25519, Ed448 and ML-DSA keys, certificates without a subjectAltName, and much else
that device vendors have burnt into flash. This one is small, bounded in every
direction, and strict in what matters: signatures, names, validity, who may sign
certificates, path length, name constraints and critical extensions.

Policies are not processed, which RFC 5280 section 6.1 allows for the initial policy
set anyPolicy as long as nobody demands an explicit policy: a chain with
``requireExplicitPolicy`` is refused. Revocation is the caller's question.

**Source:** RFC 5280 section 6.1, RFC 4158 for the order of the search.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from pkid.asn1 import der, oids
from pkid.crypto.certificates import (
    BasicConstraints,
    Certificate,
    allows_certificate_signing,
    authority_key_identifier,
    basic_constraints,
    subject_key_identifier,
)
from pkid.crypto.nameconstraints import NameConstraints
from pkid.errors import ErrorCode, PKIError

MIN_CURVE_BITS: Final = 224
_UNDERSTOOD: Final = frozenset(
    {
        oids.ID_CE_AUTHORITY_KEY_IDENTIFIER,
        oids.ID_CE_BASIC_CONSTRAINTS,
        oids.ID_CE_CERTIFICATE_POLICIES,
        oids.ID_CE_EXT_KEY_USAGE,
        oids.ID_CE_INHIBIT_ANY_POLICY,
        oids.ID_CE_KEY_USAGE,
        oids.ID_CE_NAME_CONSTRAINTS,
        oids.ID_CE_POLICY_CONSTRAINTS,
        oids.ID_CE_POLICY_MAPPINGS,
        oids.ID_CE_SUBJECT_ALT_NAME,
        oids.ID_CE_SUBJECT_KEY_IDENTIFIER,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLimits:
    """How much a chain may cost.

    :ivar depth: certificates in a chain, leaf and anchor included.
    :ivar signatures: signature checks in the whole search.
    :ivar intermediates: certificates looked at, of those that the sender gave.
    """

    depth: int = 8
    signatures: int = 32
    intermediates: int = 64


DEFAULT_LIMITS: Final = ChainLimits()


def validate_chain(
    leaf: Certificate,
    intermediates: Sequence[Certificate],
    anchors: Sequence[Certificate],
    at: datetime.datetime,
    *,
    limits: ChainLimits = DEFAULT_LIMITS,
    allow_sha1: bool = False,
    allow_expired_leaf: bool = False,
    min_rsa: int = 2048,
) -> tuple[Certificate, ...]:
    """Find a valid chain from ``leaf`` to one of ``anchors``.

    A leaf that is itself an anchor is a chain of one.

    :param intermediates: as the sender gave them, in any order; more than
        ``limits.intermediates`` are not looked at.
    :param anchors: trusted for this purpose; must be within their validity, and are
        held to their own constraints.
    :param at: aware; when the chain must be valid.
    :param allow_sha1: take SHA-1 signatures (old vendor chains, by configuration).
    :param allow_expired_leaf: take a leaf whose validity has ended (the same).
    :param min_rsa: bits of the smallest RSA key in the chain.
    :returns: leaf first, anchor last.
    :raises PKIError: ``MISSING_INFORMATION`` when no issuer of some certificate was
        found, ``SIGNER_NOT_TRUSTED`` with the first cause otherwise.

    Cost: a signature check (20 to 400 us) a certificate, `ChainLimits` at most.

    **Source:** RFC 5280 section 6.1.
    """
    search = _Search(
        intermediates=tuple(intermediates[: limits.intermediates]),
        anchors=tuple(anchors),
        at=at,
        limits=limits,
        allow_sha1=allow_sha1,
        min_rsa=min_rsa,
    )
    search.check_leaf(leaf, allow_expired=allow_expired_leaf)
    if leaf in search.anchors:
        return (leaf,)
    path = search.extend((leaf,))
    if path is not None:
        return path
    raise search.refusal()


def _not_trusted(detail: str) -> PKIError:
    return PKIError(ErrorCode.SIGNER_NOT_TRUSTED, detail)


@dataclass(slots=True, kw_only=True)
class _Search:
    """One depth-first search, and what it has spent and learnt."""

    intermediates: tuple[Certificate, ...]
    anchors: tuple[Certificate, ...]
    at: datetime.datetime
    limits: ChainLimits
    allow_sha1: bool
    min_rsa: int
    signatures: int = 0
    causes: list[PKIError] = field(default_factory=list)

    def refusal(self) -> PKIError:
        """Why nothing was found: the first cause that is about a candidate."""
        if self.causes:
            return _not_trusted(self.causes[0].detail)
        return PKIError(
            ErrorCode.MISSING_INFORMATION,
            "no issuer was found for a certificate in the chain",
        )

    def check_leaf(self, leaf: Certificate, *, allow_expired: bool) -> None:
        """Hold the leaf to what needs no issuer."""
        try:
            self._check_alone(leaf, allow_expired=allow_expired)
        except PKIError as error:
            raise _not_trusted(f"signer's certificate: {error.detail}") from None

    def extend(self, path: tuple[Certificate, ...]) -> tuple[Certificate, ...] | None:
        """The path completed to an anchor, or None."""
        if len(path) == self.limits.depth:
            self.causes.append(_not_trusted("the chain is too long"))
            return None
        candidates = self._candidates(path)
        if not candidates and path[-1].is_self_issued:
            self.causes.append(_not_trusted("the chain ends in an unknown root"))
        for issuer in candidates:
            try:
                self._check_issuer(issuer, path)
            except PKIError as error:
                self.causes.append(error)
                continue
            longer = (*path, issuer)
            if issuer in self.anchors:
                return longer
            found = self.extend(longer)
            if found is not None:
                return found
        return None

    def _candidates(self, path: tuple[Certificate, ...]) -> list[Certificate]:
        """Certificates of the issuer's name, the most promising first."""
        child = path[-1]
        named = [
            certificate
            for certificate in dict.fromkeys((*self.anchors, *self.intermediates))
            if certificate.subject.matches(child.issuer)
            and not _repeats(certificate, path)
        ]
        key_id = _key_id(child)
        # Sorting is stable: anchors stay before intermediates, key matches go first.
        return sorted(named, key=lambda certificate: _rank(certificate, key_id))

    def _check_issuer(self, issuer: Certificate, path: tuple[Certificate, ...]) -> None:
        self._check_alone(issuer, allow_expired=False)
        _check_authority(issuer, path, anchor=issuer in self.anchors)
        _check_name_constraints(issuer, path)
        self._check_signature(path[-1], issuer)

    def _check_alone(self, certificate: Certificate, *, allow_expired: bool) -> None:
        if self.at < certificate.not_before:
            raise _not_trusted("a certificate is not valid yet")
        if self.at > certificate.not_after and not allow_expired:
            raise _not_trusted("a certificate has expired")
        for extension in certificate.extensions:
            if extension.critical and extension.oid not in _UNDERSTOOD:
                raise _not_trusted(f"unknown critical extension {extension.oid}")
        _check_policy_constraints(certificate)
        info = certificate.public_key_info
        if info.family == "rsa" and info.bits < self.min_rsa:
            raise _not_trusted(f"an RSA key of {info.bits} bits is too small")
        if info.family.startswith("ec:") and info.bits < MIN_CURVE_BITS:
            raise _not_trusted(f"an EC key of {info.bits} bits is too small")

    def _check_signature(self, certificate: Certificate, issuer: Certificate) -> None:
        if self.signatures == self.limits.signatures:
            raise _not_trusted("the chain needs too many signature checks")
        self.signatures += 1
        structure = certificate.structure
        issuer.public_key_info.verify(
            structure.algorithm,
            structure.signature,
            structure.signed,
            allow_sha1=self.allow_sha1,
        )


def _repeats(certificate: Certificate, path: Iterable[Certificate]) -> bool:
    """Whether a subject and key are in the path already (RFC 4158 section 2.4.1)."""
    return any(
        earlier.spki == certificate.spki and earlier.subject == certificate.subject
        for earlier in path
    )


def _key_id(certificate: Certificate) -> bytes | None:
    try:
        return authority_key_identifier(certificate)
    except PKIError:
        return None


def _rank(certificate: Certificate, key_id: bytes | None) -> int:
    """0 when the key identifiers match, 1 when one is missing, 2 when they differ."""
    try:
        own = subject_key_identifier(certificate)
    except PKIError:
        return 2
    if key_id is None or own is None:
        return 1
    return 0 if own == key_id else 2


def _check_authority(
    issuer: Certificate, path: tuple[Certificate, ...], *, anchor: bool
) -> None:
    """Whether a certificate may sign the last of the path, so far down.

    **Source:** RFC 5280 section 6.1.4 (k) to (n).
    """
    constraints = basic_constraints(issuer)
    if constraints is None and anchor and issuer.version == 1:
        # Version 1 has no way to say it; a configured anchor was meant to sign.
        constraints = BasicConstraints(ca=True, path_length=None)
    if constraints is None or not constraints.ca:
        raise _not_trusted("an issuer in the chain is not a CA")
    if not allows_certificate_signing(issuer):
        raise _not_trusted("an issuer in the chain may not sign certificates")
    between = sum(not certificate.is_self_issued for certificate in path[1:])
    if constraints.path_length is not None and between > constraints.path_length:
        raise _not_trusted("the chain is longer than an issuer allows")


def _check_name_constraints(issuer: Certificate, path: tuple[Certificate, ...]) -> None:
    """Hold all that is below an issuer to its name constraints.

    **Source:** RFC 5280 section 6.1.3 (b) and (c).
    """
    value = issuer.extension(oids.ID_CE_NAME_CONSTRAINTS)
    if value is None:
        return
    constraints = NameConstraints.decode(value)
    for index, certificate in enumerate(path):
        if index and certificate.is_self_issued:
            continue
        cause = constraints.violation(certificate)
        if cause is not None:
            raise _not_trusted(cause)


def _check_policy_constraints(certificate: Certificate) -> None:
    value = certificate.extension(oids.ID_CE_POLICY_CONSTRAINTS)
    if value is None:
        return
    cursor = der.Cursor(der.single(value, der.SEQUENCE))
    if cursor.at(der.context(0)):
        raise _not_trusted("a certificate demands an explicit policy")
