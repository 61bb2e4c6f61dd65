"""Commands that look and explain: audit, store, recorded messages.

What only one command needs is imported there, so that the tool is quick.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Final

from pkid.app import output
from pkid.app.commands import DONE, REFUSED, Command, Tool, argument
from pkid.storage.filestore import ReadOnlyStore


def explain(tool: Tool, given: Namespace) -> int:
    """What is known of something, newest first."""
    arguments = {"text": given.text, "limit": given.limit}
    found = tool.daemon.read("audit", arguments)
    if tool.json:
        output.write_json(found)
        return DONE
    if not found:
        output.write_text("nothing is recorded about this")
    for view in found:
        view["at"] = f"{view['at']} {view['action']} {view['outcome']}"
        names = [name for name in view if name not in {"action", "outcome"}]
        output.write_fields({name: view[name] for name in names})
        output.write_text("")
    return DONE


def verify(tool: Tool, _given: Namespace) -> int:
    """Check the chain of the audit and its signatures."""
    from pkid.app.auditing import verify_audit

    store = ReadOnlyStore.open(tool.state)
    try:
        report = verify_audit(store)
    finally:
        store.close()
    tool.show(
        {
            "records": report.records,
            "head": report.head.hex(),
            "checkpoints": report.checkpoints,
            "faults": report.faults or "none",
        }
    )
    return REFUSED if report.faults else DONE


def check_store(tool: Tool, _given: Namespace) -> int:
    """Check the whole store."""
    from pkid.storage.fsck import fsck

    # Opened first: what is no store at all is told in plain words.
    ReadOnlyStore.open(tool.state).close()
    found = [
        {"kind": finding.kind, "subject": finding.subject}
        for finding in fsck(tool.state)
    ]
    if found or tool.json:
        tool.table(found)
    else:
        output.write_text("no fault found")
    return REFUSED if found else DONE


def decode(tool: Tool, given: Namespace) -> int:
    """A recorded message as text."""
    from pkid.app.trace import decode_trace

    views = decode_trace(given.file.read_bytes())
    if tool.json:
        output.write_json(views)
        return DONE
    for view in views:
        output.write_fields(view)
        output.write_text("")
    return DONE


COMMANDS: Final = (
    Command(
        verb="explain",
        help="what came, what became of it, and what to change",
        run=explain,
        arguments=(
            argument(
                "text",
                help="transaction id, serial number, entity, subject, peer or actor",
            ),
            argument("--limit", default="20", help="at most so many records [20]"),
        ),
    ),
    Command(
        verb="verify-audit",
        help="check that no audit record was changed, removed or added",
        run=verify,
    ),
    Command(verb="fsck", help="check the whole store", run=check_store),
    Command(
        noun="trace",
        verb="decode",
        help="show a recorded CMP message or TCP stream",
        run=decode,
        arguments=(argument("file", type=Path, help="DER, PEM, base64 or TCP"),),
    ),
)
