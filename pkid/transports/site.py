"""The one table of URLs.

A door is a row: a pattern, the responder that answers, what the pattern's segments
mean, which methods it takes and how much it reads. Protocols that come later add
rows, nothing else.

A path is cut at "/", each segment is percent-decoded once, and what stands for a
name must be ``[a-z0-9_-]{1,64}``: no name from a URL can ever be a path.

Source: RFC 9811 section 3.4 and RFC 9483 section 6.1 (paths of CMP).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from pkid.responders.base import Responder

KIB = 1024

#: Operation labels of CMP: RFC 9811's names, their short forms, and body names.
CMP_OPERATIONS = frozenset(
    {
        "initialization", "certification", "keyupdate", "pkcs10", "revocation",
        "getcacerts", "getrootupdate", "getcertreqtemplate", "getcrls", "nested",
        "ir", "cr", "kur", "p10", "rr", "crts", "rcu", "att", "crls", "nest",
        "p10cr", "ccr", "certConf", "genm", "popdecr",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row.

    :ivar pattern: path whose segments are literal, or ``<alias>`` or
        ``<operation>``, perhaps with a literal end (``<alias>.crl``). The last may be
        ``<rest>``: whatever follows where no other row leads, slashes too.
    :ivar responder: key of the responder that answers.
    :ivar methods: what it takes. HEAD goes with GET and OPTIONS with anything.
    :ivar alias: the entrance, for patterns that name none.
    :ivar operation: for patterns that name none.
    :ivar operations: the closed set for ``<operation>``.
    :ivar body_limit: octets of the request's body; more is 413.
    :ivar any_case: whether capitals in a path lead here too; the pattern has none.
    """

    pattern: str
    responder: str
    methods: tuple[str, ...] = ("POST",)
    alias: str = ""
    operation: str = ""
    operations: frozenset[str] = frozenset()
    body_limit: int = 64 * KIB
    any_case: bool = False

    def takes(self, method: str) -> bool:
        """Say whether a request with this method goes to the responder."""
        return method in self.methods or (method == "HEAD" and "GET" in self.methods)

    @property
    def allow(self) -> str:
        """Value of the Allow header."""
        head = ("HEAD",) if "GET" in self.methods else ()
        return ", ".join((*self.methods, *head, "OPTIONS"))


def cmp_routes(
    *,
    default_alias: str = "default",
    at_root: bool = False,
    body_limit: int = 256 * KIB,
) -> tuple[Route, ...]:
    """Give the rows of CMP over HTTP.

    :param default_alias: the entrance of paths that name none.
    :param at_root: whether "/" is one of them.
    :param body_limit: octets of a request; chains of post-quantum keys are large.
    """
    unnamed = ["/.well-known/cmp", "/pkix", "/pkix/"]
    if at_root:
        unnamed.append("/")
    named = (
        "/.well-known/cmp/p/<alias>",
        "/cmp/<alias>",
        "/ejbca/publicweb/cmp/<alias>",
    )

    def row(pattern: str, alias: str = "") -> Route:
        return Route(
            pattern=pattern,
            responder="cmp",
            alias=alias,
            operations=CMP_OPERATIONS,
            body_limit=body_limit,
        )

    return (
        *(row(pattern, default_alias) for pattern in unnamed),
        row("/.well-known/cmp/<operation>", default_alias),
        *(row(pattern) for pattern in named),
        row("/.well-known/cmp/p/<alias>/<operation>"),
    )


def est_routes(
    *, default_alias: str = "default", cmc_limit: int = 256 * KIB
) -> tuple[Route, ...]:
    """Give the rows of EST.

    :param default_alias: the entrance of paths without a label.
    :param cmc_limit: octets of a full CMC request.

    **Source:** RFC 7030 section 3.2.2; RFC 8295 section 2.
    """

    def rows(operation: str, method: str, limit: int) -> tuple[Route, ...]:
        return tuple(
            Route(
                pattern=f"/.well-known/est/{label}{operation}",
                responder="est",
                methods=(method,),
                alias="" if label else default_alias,
                operation=operation,
                body_limit=limit,
            )
            for label in ("", "<alias>/")
        )

    return tuple(
        row
        for operation, method, limit in (
            ("cacerts", "GET", 0),
            ("csrattrs", "GET", 0),
            ("crls", "GET", 0),
            ("eecerts", "GET", 0),
            ("simpleenroll", "POST", 64 * KIB),
            ("simplereenroll", "POST", 64 * KIB),
            ("serverkeygen", "POST", 64 * KIB),
            ("fullcmc", "POST", cmc_limit),
        )
        for row in rows(operation, method, limit)
    )


#: Resources of ACME that a signed request may go to; the rest of the path says which.
ACME_RESOURCES = (
    "new-account", "account", "orders", "key-change", "new-order", "order", "finalize",
    "authorization", "challenge", "certificate", "revoke-certificate",
)  # fmt: skip


def acme_routes() -> tuple[Route, ...]:
    """Give the rows of ACME.

    **Source:** RFC 8555 section 7.1; EJBCA for its directory.
    """

    def row(pattern: str, operation: str, *methods: str) -> Route:
        return Route(
            pattern=pattern, responder="acme", operation=operation, methods=methods
        )

    open_to_all = ("directory", "new-nonce")
    return (
        *(row(f"/acme/<alias>/{one}", one, "GET", "POST") for one in open_to_all),
        *(row(f"/acme/<alias>/{one}", one, "POST", "GET") for one in ACME_RESOURCES),
        *(
            row(f"/acme/<alias>/{one}/<rest>", one, "POST", "GET")
            for one in ACME_RESOURCES
        ),
        row("/acme/<alias>/renewal-info/<rest>", "renewal-info", "GET"),
        row("/ejbca/acme/<alias>/directory", "directory", "GET", "POST"),
    )


def scep_routes(*, default_alias: str = "default") -> tuple[Route, ...]:
    """Give the rows of SCEP and of the page that gives out challenges.

    Clients append what their programmers thought of to a path, "pkiclient.exe" in
    small letters or capitals most often; the tail means nothing.

    :param default_alias: the entrance of paths that name none.

    **Source:** RFC 8894 section 4.1; [MS-WCCE]'s NDES and EJBCA for theirs.
    """

    def row(pattern: str, alias: str = "", responder: str = "scep") -> Route:
        return Route(
            pattern=pattern,
            responder=responder,
            methods=("GET", "POST"),
            alias=alias,
            any_case=True,
        )

    unnamed = (
        "/scep",
        "/scep/",
        "/scep/pkiclient.exe",
        "/cgi-bin/pkiclient.exe",
        "/certsrv/mscep/mscep.dll",
        "/certsrv/mscep/mscep.dll/<rest>",
        "/certsrv/mscep",
        "/certsrv/mscep/",
        "/ejbca/publicweb/apply/scep/pkiclient.exe",
    )
    named = (
        "/scep/<alias>",
        "/scep/<alias>/<rest>",
        "/ejbca/publicweb/apply/scep/<alias>/<rest>",
    )
    return (
        *(row(pattern, default_alias) for pattern in unnamed),
        *(row(pattern) for pattern in named),
        row("/certsrv/mscep_admin", default_alias, "ndes"),
        row("/certsrv/mscep_admin/<rest>", default_alias, "ndes"),
        row("/scep/<alias>/mscep_admin", responder="ndes"),
        row("/scep/<alias>/mscep_admin/<rest>", responder="ndes"),
    )


def _get(pattern: str, responder: str, operation: str) -> Route:
    return Route(
        pattern=pattern,
        responder=responder,
        operation=operation,
        methods=("GET",),
        body_limit=0,
    )


def _ocsp(path: str) -> tuple[Route, ...]:
    """OCSP by POST and, behind the path, by GET (RFC 6960 appendix A.1)."""
    return (
        Route(
            pattern=path,
            responder="status",
            operation="ocsp",
            body_limit=16 * KIB,
        ),
        _get(f"{path}/<rest>", "status", "ocsp"),
    )


STATUS_ROUTES = (
    _get("/crls/<alias>.crl", "status", "crl"),
    _get("/crls/<alias>-delta.crl", "status", "delta-crl"),
    _get("/crls/<alias>/<rest>", "status", "crl-partition"),
    _get("/certificates/<alias>.cer", "status", "certificate"),
    _get("/certificates/<alias>.p7c", "status", "certificate-bundle"),
    _get("/certificates/search.cgi", "status", "certificate-search"),
    _get("/crls/search.cgi", "status", "crl-search"),
    _get("/ejbca/publicweb/certificates/search.cgi", "status", "certificate-search"),
    _get("/ejbca/publicweb/crls/search.cgi", "status", "crl-search"),
    _get("/ejbca/publicweb/webdist/certdist", "status", "certdist"),
    *_ocsp("/ocsp"),
    *_ocsp("/ejbca/publicweb/status/ocsp"),
)
OPERATIONS_ROUTES = (
    _get("/livez", "operations", "livez"),
    _get("/readyz", "operations", "readyz"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where one path leads."""

    route: Route
    responder: Responder
    alias: str
    operation: str
    rest: str = ""


_NAME = re.compile(r"[a-z0-9_-]{1,64}").fullmatch
_REST = "<rest>"
_VARIABLE = re.compile(r"<(alias|operation)>(.*)").fullmatch


@dataclass(slots=True)
class _Node:
    """What may follow a path's beginning."""

    route: Route | None = None
    rest: Route | None = None
    literal: dict[str, _Node] = field(default_factory=dict)
    variable: list[tuple[str, str, _Node]] = field(default_factory=list)

    def child(self, segment: str) -> _Node:
        """Find or make the node that a pattern's segment leads to."""
        found = _VARIABLE(segment)
        if found is None:
            return self.literal.setdefault(segment, _Node())
        kind, end = found.groups()
        for other_kind, other_end, node in self.variable:
            if (kind, end) == (other_kind, other_end):
                return node
        node = _Node()
        self.variable.append((kind, end, node))
        # The longest end first: "<alias>-delta.crl" before "<alias>.crl".
        self.variable.sort(key=lambda entry: -len(entry[1]))
        return node


class Site:
    """The compiled table.

    :param responders: by key; rows whose responder is absent do not exist.
    :param routes: the rows. Two rows with the same pattern are a fault.
    :raises ValueError: for such a pair.
    """

    def __init__(
        self, responders: Mapping[str, Responder], routes: Iterable[Route]
    ) -> None:
        self._responders = dict(responders)
        self._root = _Node()
        for route in routes:
            if route.responder in self._responders:
                self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        path = route.pattern.removesuffix(f"/{_REST}")
        for segment in path.split("/")[1:]:
            node = node.child(segment)
        before = node.route if path == route.pattern else node.rest
        if before is not None:
            raise ValueError(f"two routes for {route.pattern}")
        if path == route.pattern:
            node.route = route
        else:
            node.rest = route

    def find(self, path: str) -> Target | None:
        """Find where a path leads.

        :param path: of the request target, still percent-encoded, without query.
        :return: None where nothing is.
        """
        if not path.startswith("/"):
            return None
        segments = path.split("/")
        if "%" in path:
            segments = [_decoded(segment) for segment in segments]
        found = self._find(segments)
        if found is None:
            folded = self._find([segment.lower() for segment in segments])
            if folded is not None and folded.route.any_case:
                found = folded
        return found

    def _find(self, segments: list[str]) -> Target | None:
        node: _Node | None = self._root
        names: dict[str, str] = {}
        tail: tuple[Route, int] | None = None
        for index, segment in enumerate(segments[1:], 1):
            if node is not None and node.rest is not None:
                tail = node.rest, index
            node = _step(node, segment, names)
            if node is None:
                break
        found = self._target(node, names)
        if found is None and tail is not None:
            route, index = tail
            rest = "/".join(segments[index:])
            found = Target(
                route,
                self._responders[route.responder],
                names.get("alias", route.alias),
                route.operation,
                rest,
            )
        return found

    def _target(self, node: _Node | None, names: dict[str, str]) -> Target | None:
        if node is None or (route := node.route) is None:
            return None
        operation = names.get("operation")
        if operation is None:
            operation = route.operation
        elif operation not in route.operations:
            return None
        return Target(
            route,
            self._responders[route.responder],
            names.get("alias", route.alias),
            operation,
        )


def _decoded(segment: str) -> str:
    # Latin-1 gives every octet a character, none of which a name may hold.
    return unquote_to_bytes(segment).decode("latin-1")


def _step(node: _Node | None, segment: str, names: dict[str, str]) -> _Node | None:
    if node is None:
        return None
    literal = node.literal.get(segment)
    if literal is not None:
        return literal
    for kind, end, child in node.variable:
        if segment.endswith(end):
            name = segment[: len(segment) - len(end)]
            # An operation is held against its row's closed set instead.
            if kind == "operation" or _NAME(name):
                names[kind] = name
                return child
    return None
