"""What can be asked of a store without a daemon: lists, searches, explanations.

The same functions answer the control socket, over the daemon's own store, and the tool
when no daemon runs, over a store that it opened for reading. Each takes the arguments
of its resource as texts and gives what goes into JSON.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from pkid.app import views
from pkid.app.views import View
from pkid.engine.model import CertificateRecord, CertificateReference, CertificateStatus
from pkid.engine.ports import CertificateQuery
from pkid.engine.records import ApprovalStatus, AuditRecord
from pkid.errors import ErrorCode, PKIError
from pkid.storage.reads import StoreReads

Arguments = Mapping[str, str]
Reading = Callable[[StoreReads, Arguments], Awaitable[object]]

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
STATUSES: Final = {status.name.lower(): status for status in CertificateStatus}


def refuse(detail: str, hint: str = "") -> PKIError:
    """``BAD_REQUEST`` for an argument that is wrong."""
    return PKIError(ErrorCode.BAD_REQUEST, detail, hint=hint or None)


def missing(what: str, hint: str) -> PKIError:
    """``NOT_FOUND``."""
    return PKIError(ErrorCode.NOT_FOUND, what, hint=hint)


def need(arguments: Arguments, name: str) -> str:
    """An argument that must be there.

    :raises PKIError: ``BAD_REQUEST``.
    """
    found = arguments.get(name, "")
    if not found:
        raise refuse(f"{name} is missing")
    return found


def limit_of(arguments: Arguments) -> int:
    """How many at most: ``limit``, 1 to `MAX_LIMIT`.

    :raises PKIError: ``BAD_REQUEST``.
    """
    text = arguments.get("limit", "")
    if not text:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= MAX_LIMIT):
        raise refuse(f"limit must be from 1 to {MAX_LIMIT}")
    return int(text)


def decode_reference(text: str) -> CertificateReference:
    """``authority/serial`` with a hexadecimal serial number.

    :raises PKIError: ``BAD_REQUEST``.
    """
    authority, slash, serial = text.partition("/")
    try:
        number = int(serial.replace(":", ""), 16)
    except ValueError:
        number = -1
    if not slash or not authority or not 0 <= number < 1 << 160:
        raise refuse(
            "a certificate is named authority/serial or by its serial number",
            "pkid certificate search shows the references",
        )
    return CertificateReference(authority, number)


async def find_certificate(store: StoreReads, text: str) -> CertificateRecord:
    """The certificate of a reference, a serial number or a fingerprint.

    :raises PKIError: ``NOT_FOUND``, or ``CONFLICT`` when several authorities have it.
    """
    found: list[CertificateRecord | None]
    if "/" in text:
        found = [await store.find_certificate(decode_reference(text))]
    else:
        found = list(await _by_number(store, text.replace(":", "").lower()))
    records = [record for record in found if record is not None]
    if not records:
        raise missing("there is no such certificate", "pkid certificate search")
    if len(records) > 1:
        names = ", ".join(str(record.reference) for record in records)
        raise PKIError(
            ErrorCode.CONFLICT, "several certificates have this number", hint=names
        )
    return records[0]


async def _by_number(store: StoreReads, digits: str) -> list[CertificateRecord]:
    try:
        number = int(digits, 16)
    except ValueError:
        raise refuse("neither a reference, a serial number nor a fingerprint") from None
    if len(digits) == 64:
        record = await store.find_certificate_by_fingerprint(bytes.fromhex(digits))
        if record is not None:
            return [record]
    if number >= 1 << 160:
        return []
    return list(await store.search_certificates(CertificateQuery(serial=number)))


async def list_authorities(store: StoreReads, _arguments: Arguments) -> list[View]:
    """All authorities."""
    return [views.authority(one) for one in await store.list_authorities()]


async def show_authority(store: StoreReads, arguments: Arguments) -> View:
    """One authority with its chain and its last CRL."""
    name = need(arguments, "name")
    record = await store.find_authority(name)
    if record is None:
        raise missing("there is no such authority", "pkid ca list")
    crl = await store.latest_crl(name)
    chain = (record.certificate, *record.chain)
    return {
        **views.authority(record),
        "crl": None if crl is None else views.crl(crl),
        "chain": [views.octets(one) for one in chain],
    }


async def show_crl(store: StoreReads, arguments: Arguments) -> View:
    """The last CRL of an authority, with its octets."""
    record = await store.latest_crl(need(arguments, "name"))
    if record is None:
        raise missing("this authority has issued no CRL yet", "pkid ca list")
    return {**views.crl(record), "der": views.octets(record.der)}


async def list_secrets(store: StoreReads, _arguments: Arguments) -> list[View]:
    """All shared secrets, without their values."""
    return [views.secret(one) for one in await store.list_credentials()]


async def list_entities(store: StoreReads, arguments: Arguments) -> list[View]:
    """End entities in order of their names, after ``after``."""
    after = arguments.get("after", "")
    found = await store.list_entities(after, limit_of(arguments))
    return [views.entity(one) for one in found]


async def show_entity(store: StoreReads, arguments: Arguments) -> View:
    """One end entity and its certificates."""
    name = need(arguments, "name")
    record = await store.find_entity(name)
    if record is None:
        raise missing("there is no such end entity", "pkid entity list")
    query = CertificateQuery(entity=name, limit=limit_of(arguments))
    certificates = await store.search_certificates(query)
    return {
        **views.entity(record),
        "certificates": [views.certificate(one) for one in certificates],
    }


async def list_requests(store: StoreReads, arguments: Arguments) -> list[View]:
    """Requests that people must agree to, by ``status``."""
    text = arguments.get("status", "")
    known = [status.value for status in ApprovalStatus]
    if text and text not in known:
        raise refuse(f"status must be one of {', '.join(known)}")
    status = ApprovalStatus(text) if text else None
    found = await store.list_approvals(status, limit_of(arguments))
    return [views.approval(one) for one in found]


async def show_request(store: StoreReads, arguments: Arguments) -> View:
    """One such request."""
    record = await store.find_approval(need(arguments, "id"))
    if record is None:
        raise missing("there is no such request", "pkid request list")
    return views.approval(record)


async def search_certificates(store: StoreReads, arguments: Arguments) -> list[View]:
    """Certificates, newest first."""
    status = arguments.get("status", "")
    if status and status not in STATUSES:
        raise refuse(f"status must be one of {', '.join(STATUSES)}")
    query = CertificateQuery(
        authority=arguments.get("authority") or None,
        entity=arguments.get("entity") or None,
        subject_prefix=arguments.get("subject") or None,
        status=STATUSES[status] if status else None,
        limit=limit_of(arguments),
    )
    found = await store.search_certificates(query)
    return [views.certificate(one) for one in found]


async def show_certificate(store: StoreReads, arguments: Arguments) -> View:
    """One certificate with its octets and its issuers'."""
    record = await find_certificate(store, need(arguments, "reference"))
    issuer = await store.find_authority(record.reference.authority)
    chain = () if issuer is None else (issuer.certificate, *issuer.chain)
    der = await store.get_certificate_der(record.reference)
    return {
        **views.certificate(record),
        "der": views.octets(der),
        "chain": [views.octets(one) for one in chain],
    }


async def explain(store: StoreReads, arguments: Arguments) -> list[View]:
    """The newest audit records about a peer, transaction, certificate, entity ..."""
    text = need(arguments, "text")
    found = list(await store.search_audit(text, limit_of(arguments)))
    if not found and "/" not in text:
        found = await _explain_serial(store, text)
    return [views.audit(one) for one in found]


async def _explain_serial(store: StoreReads, text: str) -> list[AuditRecord]:
    try:
        record = await find_certificate(store, text)
    except PKIError:
        return []
    return list(await store.search_audit(str(record.reference), DEFAULT_LIMIT))


async def list_accounts(store: StoreReads, _arguments: Arguments) -> list[View]:
    """All accounts of ACME."""
    return [views.acme_account(one) for one in await store.list_accounts()]


async def show_account(store: StoreReads, arguments: Arguments) -> View:
    """One account of ACME with its orders."""
    found = await store.find_account(need(arguments, "id"))
    if found is None:
        raise missing("there is no such account", "pkid acme accounts")
    orders = await store.list_orders(found.id, None, DEFAULT_LIMIT)
    shown = [views.acme_order(one) for one in orders]
    return {**views.acme_account(found), "orders": shown}


#: What can be read, by resource name; the tool and the control socket share it.
READINGS: Final[Mapping[str, Reading]] = {
    "authorities": list_authorities,
    "authority": show_authority,
    "crl": show_crl,
    "secrets": list_secrets,
    "entities": list_entities,
    "entity": show_entity,
    "requests": list_requests,
    "request": show_request,
    "certificates": search_certificates,
    "certificate": show_certificate,
    "audit": explain,
    "acme/accounts": list_accounts,
    "acme/account": show_account,
}
