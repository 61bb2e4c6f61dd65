"""Text that may come from anybody, made fit for a log or a terminal.

Pure. **Source:** SEC-93.
"""

from __future__ import annotations


def escape(text: str) -> str:
    """The text with everything but printable ASCII as escapes."""
    return "".join(
        character
        if character.isascii() and character.isprintable()
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
