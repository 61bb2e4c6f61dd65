"""Which CRL a certificate is on, and where that CRL is.

Pure. Certificates name it at issue, so that what is said here of one already issued
must never change.

**Source:** RFC 5280 sections 4.2.1.13 and 5.2.5; ENG-31.
"""

from __future__ import annotations

from pkid.engine.aliases import AuthoritySettings


def crl_path(authority: str, partition: int = 0, *, delta: bool = False) -> str:
    """Where a CRL is: below the public URL, and below the directory of public files."""
    end = "-delta.crl" if delta else ".crl"
    return f"crls/{authority}{f'/{partition}' if partition else ''}{end}"


def partition_of(settings: AuthoritySettings, serial: int) -> int:
    """The partition that a certificate issued now belongs to; 0 for none.

    :param serial: its last bits are random, so that all partitions grow alike.
    """
    count = settings.crl_partitions
    return serial % count + 1 if count else 0
