"""Which responder answers at which listener, and where clients find it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from pkid.app.house import House
from pkid.app.listening import Address, Listeners
from pkid.app.readme import Doors
from pkid.app.settings import Listener
from pkid.app.tables import ACME_SERVICE, EST_SERVICE, SCEP_SERVICE, TCP_SERVICE
from pkid.app.tlscontexts import TLSContexts
from pkid.responders.base import Responder
from pkid.transports.cmptcp import CMPTCPFactory
from pkid.transports.connections import ConnectionFactory
from pkid.transports.connections import Listener as ListenerFacts
from pkid.transports.est import ESTFront
from pkid.transports.http import HTTPFront
from pkid.transports.limits import Admission
from pkid.transports.site import (
    OPERATIONS_ROUTES,
    STATUS_ROUTES,
    Site,
    acme_routes,
    cmp_routes,
    est_routes,
    scep_routes,
)
from pkid.transports.tls import TLSListenerFactory

CMP_PATH: Final = "/.well-known/cmp/p/"
EST_PATH: Final = "/.well-known/est"
SCEP_PATH: Final = "/scep/"
ACME_PATH: Final = "/acme/"
HTTPS_PORT: Final = 443
NDES: Final = "ndes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """What listeners are made of.

    :ivar responders: by key of the route table.
    :ivar tls: of each listener that has it.
    """

    house: House
    admission: Admission
    responders: Mapping[str, Responder]
    tls: TLSContexts


def serve(listeners: Listeners, settings: Mapping[str, Listener], rooms: Rooms) -> None:
    """Put the responders behind their listeners."""
    for name, listener in settings.items():
        connections = _connections(listener, rooms)
        if not listener.tls:
            listeners.serve(name, connections, connections)
            continue
        context = rooms.tls.find(name)
        if context is not None:
            clock = rooms.admission.clock
            around = TLSListenerFactory(context, connections, clock)
            listeners.serve(name, around, connections)
        # Without a TLS certificate the port stays shut; it never speaks in the clear.


def _connections(listener: Listener, rooms: Rooms) -> ConnectionFactory:
    facts = ListenerFacts(name=listener.name, beyond_loopback=listener.beyond_loopback)
    if TCP_SERVICE not in listener.serves:
        return _front(listener, listener.serves, facts, rooms)
    return CMPTCPFactory(
        rooms.responders["cmp"],
        alias=listener.alias,
        admission=rooms.admission,
        framings=listener.framings,
        http=_front(listener, ("cmp",), facts, rooms),
        listener=facts,
    )


def _keys_of(services: tuple[str, ...]) -> tuple[str, ...]:
    """Keys of the route table; the page of challenges goes with SCEP."""
    return (*services, NDES) if SCEP_SERVICE in services else services


def _front(
    listener: Listener, services: tuple[str, ...], facts: ListenerFacts, rooms: Rooms
) -> HTTPFront:
    # A client set to HTTP by mistake may well post to "/" of the TCP port.
    at_root = TCP_SERVICE in listener.serves
    site = Site(
        {
            key: rooms.responders[key]
            for key in _keys_of(services)
            if key in rooms.responders
        },
        (
            *cmp_routes(default_alias=listener.alias, at_root=at_root),
            *est_routes(default_alias=listener.alias),
            *scep_routes(default_alias=listener.alias),
            *acme_routes(),
            *STATUS_ROUTES,
            *OPERATIONS_ROUTES,
        ),
    )
    front = ESTFront if EST_SERVICE in services else HTTPFront
    return front(
        site, now=rooms.house.clock.now, admission=rooms.admission, listener=facts
    )


def find_doors(
    settings: Mapping[str, Listener],
    addresses: Mapping[str, Address],
    *,
    alias: str,
    public_url: str,
) -> Doors:
    """Where the first-run alias is reached; plain HTTP before HTTPS."""
    host = urlsplit(public_url).hostname or "127.0.0.1"
    cmp_url = cmp_tcp = est_url = scep_url = acme_directory = ""
    for name in sorted(settings, key=lambda one: settings[one].tls):
        listener, address = settings[name], addresses[name]
        if address.path:
            continue
        place = address.reachable(host)
        if TCP_SERVICE in listener.serves and listener.alias == alias:
            cmp_tcp = cmp_tcp or place
        scheme = "https" if listener.tls else "http"
        if "cmp" in listener.serves:
            cmp_url = cmp_url or f"{scheme}://{place}{CMP_PATH}{alias}"
        if EST_SERVICE in listener.serves:
            est_url = est_url or f"{scheme}://{place}{EST_PATH}"
        if SCEP_SERVICE in listener.serves:
            scep_url = scep_url or f"{scheme}://{place}{SCEP_PATH}{listener.alias}"
        if ACME_SERVICE in listener.serves:
            found = f"{scheme}://{place}{ACME_PATH}{listener.alias}/directory"
            acme_directory = acme_directory or found
    return Doors(
        cmp_url=cmp_url,
        cmp_tcp=cmp_tcp,
        est_url=est_url,
        scep_url=scep_url,
        acme_directory=acme_directory,
    )


def acme_bases(
    settings: Mapping[str, Listener],
    addresses: Mapping[str, Address],
    public_url: str,
) -> frozenset[str]:
    """All that ACME listeners may be called by: "https://host:port"."""
    named = urlsplit(public_url).hostname or ""
    hosts = {"localhost", "127.0.0.1", "[::1]", named} - {""}
    found: set[str] = set()
    for name, listener in settings.items():
        port = addresses[name].port
        if ACME_SERVICE not in listener.serves or not port:
            continue
        for host in (*hosts, addresses[name].reachable("localhost").rpartition(":")[0]):
            found.add(f"https://{host}:{port}")
            if port == HTTPS_PORT:
                found.add(f"https://{host}")
    return frozenset(found)
