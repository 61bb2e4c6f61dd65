"""Holds the store against what clients were told: the invariants I1 to I8."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

from cryptography import x509

from tests.support.daemon import Daemon
from tests.support.journal import Entry, Kind

CRL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store holds, by serial number."""

    certificates: dict[int, bytes]
    serials: int
    issued_in_audit: int


def read_store(daemon: Daemon) -> Stored:
    """Certificates that came in over CMP, read beside the daemon."""
    uri = f"file:{daemon.state / 'pkid.sqlite'}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        rows = database.execute(
            "SELECT serial, der FROM certificates JOIN certificate_der USING (id) "
            "JOIN names ON names.id = certificates.protocol WHERE names.text = 'cmp'"
        ).fetchall()
        (audited,) = database.execute(
            "SELECT count(DISTINCT json_extract(event, '$.certificate')) FROM audit "
            "WHERE json_extract(event, '$.action') = 'issue' "
            "AND json_extract(event, '$.outcome') = 'issued' "
            "AND json_extract(event, '$.protocol') = 'cmp'"
        ).fetchone()
    found = {int.from_bytes(serial, "big"): bytes(der) for serial, der in rows}
    return Stored(found, len(rows), audited)


def check_store(daemon: Daemon, entries: Iterable[Entry]) -> None:
    """I1 to I5: what was released is stored, once, audited, under our chain.

    Every entry must have its answer by now.
    """
    issued = [entry.read() for entry in entries if entry.kind is Kind.ISSUE]
    released = [answer.certificate for answer in issued]
    stored = read_store(daemon)
    assert stored.serials == len(stored.certificates), "a serial number was given twice"
    assert None not in released
    assert len(set(released)) == len(released), "two requests got one certificate"
    assert set(released) == set(stored.certificates.values())
    assert stored.issued_in_audit == len(stored.certificates)
    chain = (daemon.first_run / "chain.pem").read_bytes()
    issuer = x509.load_pem_x509_certificates(chain)[0]
    for octets in stored.certificates.values():
        x509.load_der_x509_certificate(octets).verify_directly_issued_by(issuer)


def read_crl(daemon: Daemon) -> x509.CertificateRevocationList:
    """The CRL that is served now."""
    with daemon.http_wire() as wire:
        answer = wire.get("/crls/issuing.crl")
    assert answer.status == 200
    return x509.load_der_x509_crl(answer.body)


def crl_number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def check_revocations(daemon: Daemon, entries: Iterable[Entry]) -> None:
    """I6: within a minute the CRL holds every revocation that was answered."""
    expected = {
        x509.load_der_x509_certificate(entry.target).serial_number
        for entry in entries
        if entry.kind is Kind.REVOKE
    }
    deadline = time.monotonic() + CRL_SECONDS
    while True:
        missing = expected - {revoked.serial_number for revoked in read_crl(daemon)}
        if not missing:
            return
        assert time.monotonic() < deadline, f"{len(missing)} are not on the CRL"
        time.sleep(0.5)


def check_tools(daemon: Daemon) -> None:
    """The operator's own checks agree."""
    daemon.tool("verify-audit")
    daemon.tool("fsck")
