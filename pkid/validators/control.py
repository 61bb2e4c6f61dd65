"""Whether somebody controls an identifier, seen from outside.

**Source:** RFC 8555 section 8; RFC 8737; RFC 8738; ACME-68 to 77.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urljoin, urlsplit

from cryptography import x509
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pkid.asn1 import der
from pkid.engine.orders import Identifier
from pkid.engine.validation import ControlError, ControlQuestion
from pkid.validators.addresses import AddressRules

PATH: Final = "/.well-known/acme-challenge/"
ALPN: Final = b"acme-tls/1"
PATIENCE_SECONDS: Final = 0.25
MAX_REDIRECTS: Final = 10
MAX_BODY: Final = 4096
SHOWN: Final = 100
_IDENTIFIER_OID: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
DEFAULT_RULES: Final = AddressRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What an HTTP server said.

    :ivar location: of a redirect, "" for none.
    """

    status: int
    location: str
    body: bytes


class Outbound(Protocol):
    """Connections to addresses that were found to be allowed."""

    async def get(
        self, url: str, *, address: str, port: int, limit: int
    ) -> tuple[int, str, bytes]:
        """GET a URL from that address and no other: status, Location, body.

        :raises ConnectError: when there is no connection.
        """
        ...

    async def presented_certificate(
        self, *, address: str, port: int, server_name: str, protocol: bytes
    ) -> tuple[bytes, bytes]:
        """Certificate (DER) and ALPN protocol of a TLS server.

        :raises ConnectError: when there is no connection.
        """
        ...


class Names(Protocol):
    """What names stand for."""

    async def addresses(self, name: str) -> list[str]:
        """Addresses of a host.

        :raises ControlError: "dns".
        """
        ...

    async def texts(self, name: str) -> list[bytes]:
        """Values of TXT records.

        :raises ControlError: "dns".
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSettings:
    """How looks from outside are made.

    :ivar seconds: for one look, all of it.
    """

    http_port: int = 80
    tls_port: int = 443
    seconds: float = 30.0
    rules: AddressRules = DEFAULT_RULES


class OutsideView:
    """The `ControlProver` of this host.

    :param settings: of the moment.
    """

    def __init__(
        self,
        names: Callable[[], Names],
        outbound: Outbound,
        clock: IReactorTime,
        settings: Callable[[], ControlSettings],
    ) -> None:
        self._names = names
        self._outbound = outbound
        self._clock = clock
        self._settings = settings
        self._methods: dict[str, Callable[[ControlQuestion], Awaitable[None]]] = {
            "http-01": self._http,
            "dns-01": self._dns,
            "tls-alpn-01": self._tls,
        }

    # --- the port ----------------------------------------------------------------

    def prove(self, question: ControlQuestion) -> Deferred[None]:
        """Fire when control is shown.

        :raises ControlError: when it is not, or not in time.
        """
        work = Deferred.fromCoroutine(self._prove(question))
        seconds = self._settings().seconds

        def too_long(_value: Any, _seconds: float) -> None:  # noqa: ANN401
            raise ControlError("connection", f"no answer within {seconds:g} seconds")

        return work.addTimeout(seconds, self._clock, onTimeoutCancel=too_long)

    def patience(self, work: Deferred[None]) -> Deferred[None]:
        """Fire when the work is done, or after a moment."""
        waited = deferLater(self._clock, PATIENCE_SECONDS, lambda: None)

        def done(result: object) -> object:
            if not waited.called:
                waited.cancel()
            return result

        work.addBoth(done)
        return waited.addErrback(lambda failure: failure.trap(CancelledError) and None)

    def pause(self, seconds: float) -> Deferred[None]:
        """Fire after some seconds."""
        return deferLater(self._clock, seconds, lambda: None)

    async def _prove(self, question: ControlQuestion) -> None:
        try:
            await self._methods[question.method](question)
        except (ControlError, CancelledError):
            raise
        except ConnectError as fault:
            raise ControlError(
                "connection", str(fault) or type(fault).__name__
            ) from None
        except Exception as fault:  # noqa: BLE001  whatever a network can do
            raise ControlError(
                "connection", f"{type(fault).__name__} while asking"
            ) from None

    # --- http-01 -----------------------------------------------------------------

    async def _http(self, question: ControlQuestion) -> None:
        host = _in_url(question.identifier.value)
        port = self._settings().http_port
        place = host if port == 80 else f"{host}:{port}"
        url = f"http://{place}{PATH}{question.token}"
        for _ in range(MAX_REDIRECTS + 1):
            page = await self._page(url)
            if page.status not in (301, 302, 303, 307, 308) or not page.location:
                _check_page(url, page, question.key_authorization)
                return
            url = urljoin(url, page.location)
            self._check_redirect(url)
        raise ControlError("connection", "too many redirects")

    async def _page(self, url: str) -> Page:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)

        async def ask(address: str) -> Page:
            status, location, body = await self._outbound.get(
                url, address=address, port=port, limit=MAX_BODY
            )
            return Page(status=status, location=location, body=body)

        page: Page = await self._at(host, ask)
        return page

    def _check_redirect(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ControlError("connection", "a redirect leads to no URL") from None
        settings = self._settings()
        ports = {80, 443, settings.http_port, settings.tls_port, None}
        if parts.scheme not in ("http", "https") or port not in ports:
            raise ControlError("connection", f"a redirect leads to {url[:SHOWN]}")
        if not parts.hostname or _is_address(parts.hostname):
            raise ControlError("connection", "a redirect leads to an address")

    # --- dns-01 ------------------------------------------------------------------

    async def _dns(self, question: ControlQuestion) -> None:
        name = f"_acme-challenge.{question.identifier.value}"
        digest = hashlib.sha256(question.key_authorization.encode()).digest()
        wanted = base64.urlsafe_b64encode(digest).rstrip(b"=")
        found = await self._names().texts(name)
        if not any(hmac.compare_digest(one, wanted) for one in found):
            what = f"{len(found)} records, none of them" if found else "no record that"
            raise ControlError("unauthorized", f"{name} has {what} is the answer")

    # --- tls-alpn-01 -------------------------------------------------------------

    async def _tls(self, question: ControlQuestion) -> None:
        identifier = question.identifier
        name = identifier.value
        if identifier.kind == "ip":
            name = ipaddress.ip_address(identifier.value).reverse_pointer
        port = self._settings().tls_port

        async def ask(address: str) -> tuple[bytes, bytes]:
            return await self._outbound.presented_certificate(
                address=address, port=port, server_name=name, protocol=ALPN
            )

        certificate, protocol = await self._at(identifier.value, ask)
        if protocol != ALPN:
            raise ControlError("unauthorized", "the server does not speak acme-tls/1")
        _check_certificate(certificate, identifier, question.key_authorization)

    # --- addresses ---------------------------------------------------------------

    async def _at(self, host: str, ask: Callable[[str], Awaitable[Any]]) -> Any:  # noqa: ANN401
        """Ask the host at its addresses, the next where one does not connect."""
        known: Sequence[str] = [host]
        if not _is_address(host):
            known = await self._names().addresses(host)
        addresses = self._settings().rules.filtered(host, known)
        tried: list[str] = []
        for address in _one_of_each(addresses):
            try:
                return await ask(address)
            except ConnectError as fault:
                tried.append(f"{address} ({type(fault).__name__})")
        raise ControlError(
            "connection", f"{host} does not answer at {', '.join(tried)}"
        )


def _one_of_each(addresses: Sequence[str]) -> list[str]:
    """The first IPv6 address, then the first IPv4 address."""
    six = [one for one in addresses if ":" in one][:1]
    return six + [one for one in addresses if ":" not in one][:1]


def _check_page(url: str, page: Page, wanted: str) -> None:
    if page.status != 200:
        raise ControlError("unauthorized", f"{url} answers {page.status}")
    found = page.body.rstrip(b" \t\r\n")
    if not hmac.compare_digest(found, wanted.encode()):
        shown = found[:SHOWN].decode("ascii", "backslashreplace")
        raise ControlError("unauthorized", f"{url} says something else: {shown!r}")


def _check_certificate(octets: bytes, identifier: Identifier, wanted: str) -> None:
    """RFC 8737 section 3."""
    certificate = x509.load_der_x509_certificate(octets)
    try:
        names = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
        proof = certificate.extensions.get_extension_for_oid(_IDENTIFIER_OID)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        raise _unfit("it lacks the extensions of the challenge") from None
    if [str(one.value).lower() for one in names] != [identifier.value]:
        raise _unfit("it is not for this name alone")
    digest = hashlib.sha256(wanted.encode()).digest()
    value = proof.value.public_bytes()
    if not proof.critical or not hmac.compare_digest(value, der.octet_string(digest)):
        raise _unfit("its proof is another one")


def _unfit(detail: str) -> ControlError:
    return ControlError("unauthorized", f"the certificate shown does not do: {detail}")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
