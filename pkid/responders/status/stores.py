"""Certificates and CRLs of our CAs by what is known of them, and by EJBCA's old URLs.

    GET /certificates/search.cgi?sHash=...      RFC 4387; certificates of CAs alone
    GET /crls/search.cgi?iHash=...
    GET /ejbca/publicweb/webdist/certdist?cmd=crl&issuer=CN%3DIssuing

Certificates of end entities are not handed out to who does not hold them.

**Source:** RFC 4387 section 2; peers for EJBCA's parameters.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol
from urllib.parse import parse_qsl

from pkid.asn1 import der, oids
from pkid.asn1.names import Name
from pkid.crypto.certificates import (
    Certificate,
    subject_alternative_names,
    subject_key_identifier,
)
from pkid.errors import ErrorCode, PKIError
from pkid.responders.base import Exchange, Reply
from pkid.responders.status.conditional import Representation, reply_to

CERTIFICATE_TYPE: Final = "application/pkix-cert"
_MAX_AGE: Final = 3600
_MAX_PARAMETERS: Final = 16
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{1,64}").fullmatch
_HASHED: Final = frozenset(("certHash", "iHash", "iAndSHash", "sHash", "sKIDHash"))
_CRL_KEYS: Final = frozenset(("iHash", "sKIDHash"))


class Engine(Protocol):
    """The doors of the engine that are used here."""

    def authority_names(self) -> tuple[str, ...]:
        """Names of all authorities at work."""
        ...

    def authority_certificate(self, authority: str) -> bytes:
        """The certificate of exactly this authority."""
        ...

    def chain(self, authority: str) -> tuple[bytes, ...]:
        """What stands above the certificates that a line issues, the root last."""
        ...


class ServeCRL(Protocol):
    """Answers with one CRL of an authority."""

    def __call__(
        self,
        exchange: Exchange,
        authority: str,
        partition: int = 0,
        *,
        delta: bool = False,
    ) -> Awaitable[Reply]:
        """Serve it."""
        ...


class StoreResponder:
    """Finds CA certificates and CRLs."""

    def __init__(self, engine: Engine, serve_crl: ServeCRL) -> None:
        self._engine = engine
        self._serve_crl = serve_crl
        self._commands: dict[str, Callable[[Exchange, _Query], Awaitable[Reply]]] = {
            "crl": self._certdist_crl,
            "deltacrl": self._certdist_delta,
            "cacert": self._certdist_certificate,
            "nscacert": self._certdist_certificate,
            "iecacert": self._certdist_certificate,
        }

    # --- RFC 4387 ----------------------------------------------------------------

    async def search_certificates(self, exchange: Exchange) -> Reply:
        """Answer with the CA certificates that match the first attribute known.

        :raises PKIError: ``NOT_FOUND``; ``BAD_REQUEST`` for a query without a known
            attribute or with a value that is no search key.
        """
        attribute, wanted = _first_of(_Query(exchange.query), _ATTRIBUTES)
        matches = _ATTRIBUTES[attribute]
        found = [
            one.der
            for one in map(Certificate.decode, self._certificates())
            if wanted in matches(one)
        ]
        if not found:
            raise _not_found()
        if len(found) == 1:
            return _certificate_reply(exchange, found[0], CERTIFICATE_TYPE)
        boundary = hashlib.sha256(b"".join(found)).hexdigest()[:32]
        return Reply(
            body=_multipart(found, boundary),
            content_type=f"multipart/mixed; boundary={boundary}",
        )

    async def search_crls(self, exchange: Exchange) -> Reply:
        """Answer with the latest CRL of the authority that the query names.

        :raises PKIError: as `search_certificates`.
        """
        attribute, wanted = _first_of(_Query(exchange.query), _CRL_KEYS)
        # For a CRL both name its issuer.
        matches = _ATTRIBUTES["sHash" if attribute == "iHash" else attribute]
        # Those of one line share the name: the last one issues.
        for name in reversed(self._engine.authority_names()):
            octets = self._engine.authority_certificate(name)
            if wanted in matches(Certificate.decode(octets)):
                return await self._serve_crl(exchange, name)
        raise _not_found()

    def _certificates(self) -> Iterable[bytes]:
        names = self._engine.authority_names()
        own = [self._engine.authority_certificate(name) for name in names]
        above = [one for name in names for one in self._engine.chain(name)]
        return dict.fromkeys((*own, *above))

    # --- EJBCA -------------------------------------------------------------------

    async def certdist(self, exchange: Exchange) -> Reply:
        """Answer a command of EJBCA's ``certdist``.

        :raises PKIError: ``BAD_REQUEST`` for another command, ``NOT_FOUND``.
        """
        query = _Query(exchange.query)
        command = self._commands.get(query.get("cmd").lower())
        if command is None:
            raise PKIError(ErrorCode.BAD_REQUEST, "there is no such command here")
        return await command(exchange, query)

    async def _certdist_crl(self, exchange: Exchange, query: _Query) -> Reply:
        return await self._certdist_list(exchange, query, delta=False)

    async def _certdist_delta(self, exchange: Exchange, query: _Query) -> Reply:
        return await self._certdist_list(exchange, query, delta=True)

    async def _certdist_list(
        self, exchange: Exchange, query: _Query, *, delta: bool
    ) -> Reply:
        partition = _number(query.get("partition"))
        name = self._issuer(query)
        reply = await self._serve_crl(exchange, name, partition, delta=delta)
        if query.get("format").upper() == "PEM" and reply.status == 200:
            return Reply(
                body=_pem("X509 CRL", reply.body), content_type="application/x-pem-file"
            )
        return reply

    async def _certdist_certificate(self, exchange: Exchange, query: _Query) -> Reply:
        chain = self._chain(self._issuer(query))
        level = _number(query.get("level"))
        if level >= len(chain):
            raise _not_found()
        octets = chain[level]
        command, form = query.get("cmd").lower(), query.get("format").upper()
        if form == "PEM" or (command == "cacert" and form != "DER"):
            return Reply(
                body=_pem("CERTIFICATE", octets), content_type="application/x-pem-file"
            )
        media_type = "application/x-x509-ca-cert"
        if command == "iecacert":
            media_type = "application/octet-stream"
        return _certificate_reply(exchange, octets, media_type)

    def _chain(self, name: str) -> tuple[bytes, ...]:
        own = self._engine.authority_certificate(name)
        above = [one for one in self._engine.chain(name) if one != own]
        return (own, *above)

    def _issuer(self, query: _Query) -> str:
        """Name of the authority with this subject, either way round."""
        text = query.get("issuer") or query.get("ca")
        if not text:
            raise PKIError(ErrorCode.BAD_REQUEST, "the query names no issuer")
        try:
            asked = Name.from_text(text)
        except PKIError:
            raise PKIError(ErrorCode.BAD_REQUEST, "issuer is no name") from None
        wanted = {asked.canonical, Name.of(list(reversed(asked.rdns))).canonical}
        for name in reversed(self._engine.authority_names()):
            octets = self._engine.authority_certificate(name)
            if Certificate.decode(octets).subject.canonical in wanted:
                return name
        raise _not_found()


class _Query:
    """The parameters of a query; the first of a name counts."""

    __slots__ = ("_values",)

    def __init__(self, text: str) -> None:
        try:
            pairs = parse_qsl(
                text, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS
            )
        except ValueError:
            raise PKIError(
                ErrorCode.BAD_REQUEST, "the query has too many parameters"
            ) from None
        self._values: dict[str, str] = {}
        for name, value in pairs:
            self._values.setdefault(name, value)

    def get(self, name: str) -> str:
        """Value of a parameter; "" when there is none."""
        return self._values.get(name, "")

    def first(self, names: Iterable[str]) -> tuple[str, str] | None:
        """The first parameter that has one of these names."""
        known = frozenset(names)
        return next((pair for pair in self._values.items() if pair[0] in known), None)


def _first_of(query: _Query, names: Iterable[str]) -> tuple[str, str]:
    found = query.first(names)
    if found is None:
        raise PKIError(ErrorCode.BAD_REQUEST, "the query has no attribute known here")
    attribute, value = found
    if not value or (attribute in _HASHED and _KEY(value) is None):
        # RFC 4387 section 2.1: no other character may be in a search key.
        raise PKIError(ErrorCode.BAD_REQUEST, "the value is no search key")
    return found


def _key_of(octets: bytes) -> str:
    """Search key: SHA-1 in base64 without padding (RFC 4387 section 2.1)."""
    hashed = hashlib.sha1(octets, usedforsecurity=False).digest()
    return base64.b64encode(hashed).decode("ascii").rstrip("=")


def _key_id(certificate: Certificate) -> tuple[str, ...]:
    found = subject_key_identifier(certificate)
    return () if found is None else (_key_of(found),)


def _uris(certificate: Certificate) -> tuple[str, ...]:
    names = subject_alternative_names(certificate)
    texts = [name.text().partition(":")[2] for name in names]
    return (
        *texts,
        *(text.partition("//")[2] for text in texts if "//" in text),
        *certificate.subject.values(oids.ID_AT_COMMON_NAME),
    )


#: What a certificate is found by (RFC 4387 section 2.2).
_ATTRIBUTES: Final[dict[str, Callable[[Certificate], tuple[str, ...]]]] = {
    "certHash": lambda one: (_key_of(one.der),),
    "iHash": lambda one: (_key_of(one.issuer.der),),
    "iAndSHash": lambda one: (
        _key_of(der.sequence(one.issuer.der, der.integer(one.serial))),
    ),
    "sHash": lambda one: (_key_of(one.subject.der),),
    "sKIDHash": _key_id,
    "name": lambda one: one.subject.values(oids.ID_AT_COMMON_NAME),
    "uri": _uris,
    "email": _uris,
}


def _number(text: str) -> int:
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        raise PKIError(ErrorCode.BAD_REQUEST, "a parameter is no small number")
    return int(text)


def _not_found() -> PKIError:
    return PKIError(ErrorCode.NOT_FOUND, "there is nothing like this")


def _certificate_reply(exchange: Exchange, octets: bytes, media_type: str) -> Reply:
    return reply_to(
        exchange,
        Representation(
            octets=octets,
            media_type=media_type,
            tag=hashlib.sha256(octets).hexdigest()[:32],
            modified=Certificate.decode(octets).not_before,
            max_age=_MAX_AGE,
        ),
    )


def _multipart(found: Iterable[bytes], boundary: str) -> bytes:
    """Body of ``multipart/mixed``, its parts verbatim (RFC 4387 section 2)."""
    mark = f"--{boundary}".encode("ascii")
    head = f"\r\nContent-Type: {CERTIFICATE_TYPE}\r\n\r\n".encode("ascii")
    parts = b"".join(mark + head + octets + b"\r\n" for octets in found)
    return parts + mark + b"--\r\n"


def _pem(label: str, octets: bytes) -> bytes:
    text = base64.encodebytes(octets).replace(b"\n", b"")
    lines = b"\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    name = label.encode("ascii")
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (name, lines, name)
