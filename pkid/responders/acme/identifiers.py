"""Identifiers of orders: read into their one form, or refused with the reason.

**Source:** RFC 8555 sections 7.1.3 and 7.1.4; RFC 8738; RFC 5890.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Any, Final

import idna

from pkid.asn1.names import GeneralName
from pkid.engine.orders import Identifier
from pkid.responders.acme.aliases import ACMEAlias
from pkid.responders.acme.failures import URN, ProblemError, malformed

MAX_NAME: Final = 253
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)").fullmatch


def decode_identifiers(members: Any, alias: ACMEAlias) -> tuple[Identifier, ...]:  # noqa: ANN401
    """The identifiers of a newOrder, each once, in its order.

    :raises ProblemError: ``malformed``, ``unsupportedIdentifier``,
        ``rejectedIdentifier`` with a subproblem for each that is refused.
    """
    if not isinstance(members, list) or not members:
        raise malformed("identifiers must be a list of at least one")
    if len(members) > alias.maximum_identifiers:
        raise malformed(f"at most {alias.maximum_identifiers} identifiers")
    found: dict[Identifier, None] = {}
    faults: list[dict[str, Any]] = []
    for one in members:
        try:
            found[decode_identifier(one, alias)] = None
        except ProblemError as error:
            if error.kind == "malformed":
                raise
            faults.append(
                {
                    "type": URN + error.kind,
                    "detail": error.detail,
                    "identifier": {"type": one["type"], "value": one["value"]},
                }
            )
    if faults:
        raise _refused(faults)
    return tuple(found)


def decode_identifier(member: Any, alias: ACMEAlias) -> Identifier:  # noqa: ANN401
    """One identifier in its one form.

    :raises ProblemError: as `decode_identifiers`.
    """
    if not isinstance(member, dict):
        raise malformed("an identifier is an object")
    kind, value = member.get("type"), member.get("value")
    if not isinstance(kind, str) or not isinstance(value, str):
        raise malformed("an identifier needs type and value")
    if kind not in alias.identifiers:
        raise ProblemError(
            "unsupportedIdentifier",
            400,
            f"identifiers of type {kind:.32} are not taken",
        )
    return Identifier(kind, _READERS[kind](value, alias))


def _dns(value: str, alias: ACMEAlias) -> str:
    name = value.lower()
    host = name.removeprefix("*.")
    if not host.isascii() or len(host) > MAX_NAME:
        raise _rejected("not an ASCII host name of at most 253 characters")
    if _is_address(host):
        raise _rejected("an IP address is no name: use type ip")
    labels = host.split(".")
    if not all(_LABEL(label) for label in labels):
        raise _rejected("not a host name of letters, digits and hyphens")
    if len(labels) < 2 and (not alias.single_labels or name != host):
        raise _rejected("a name of one label is not taken")
    for label in labels:
        if label.startswith("xn--"):
            _check_alabel(label)
    return name


def _check_alabel(label: str) -> None:
    try:
        again = idna.alabel(idna.ulabel(label)).decode("ascii")
    except idna.IDNAError:
        again = ""
    if again != label:
        raise _rejected("a label that begins with xn-- is not of IDNA 2008")


def _ip(value: str, _alias: ACMEAlias) -> str:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise malformed("the value is no IP address") from None
    if "%" in value or str(address) != value.lower():
        raise malformed("the IP address is not in its one form (RFC 5952)")
    return str(address)


_READERS: Final = {"dns": _dns, "ip": _ip}


def general_name(identifier: Identifier) -> GeneralName:
    """The alternative name that certifies an identifier."""
    if identifier.kind == "ip":
        return GeneralName.ip(identifier.value)
    return GeneralName.dns(identifier.value)


def view(identifier: Identifier) -> dict[str, str]:
    """An identifier as JSON."""
    return {"type": identifier.kind, "value": identifier.value}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _rejected(detail: str) -> ProblemError:
    return ProblemError("rejectedIdentifier", 400, detail)


def _refused(faults: Sequence[dict[str, Any]]) -> ProblemError:
    kinds = {fault["type"].removeprefix(URN) for fault in faults}
    kind = kinds.pop() if len(kinds) == 1 else "compound"
    detail = faults[0]["detail"] if len(faults) == 1 else "several names are refused"
    return ProblemError(kind, 400, detail, subproblems=list(faults))
