"""The keys of publishers.

Pure data, as `pkid.app.tables`.
"""

from __future__ import annotations

from typing import Final

from pkid.app.kinds import DURATION, PATH, REFERENCE, URL_WITH_PATH
from pkid.app.schema import Key, Table
from pkid.app.settings import PublisherSettings

PUBLISHER: Final = Table(
    path="publisher.*",
    doc="A web service that CRLs and CA certificates are posted to as they are made,"
    " besides the directory `published`. What it does not take is posted again.",
    records=(PublisherSettings,),
    given=("name",),
    keys=(
        Key(
            "url",
            URL_WITH_PATH,
            "Where each file is posted.",
            example='"https://files.example.com/pkid"',
        ),
        Key(
            "secret",
            REFERENCE,
            "Reference to the key that signs what is posted (HMAC with SHA-256); empty:"
            " it is not signed.",
        ),
        Key("timeout", DURATION, "For one file."),
        Key(
            "authorities",
            PATH,
            "PEM file of the roots that the service's TLS certificate is checked"
            " against; empty: those of the system.",
        ),
    ),
)
