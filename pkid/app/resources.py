"""Names that the control socket and the tool share.

Pure and light: the tool imports it for every command.
"""

from __future__ import annotations

from typing import Final

from pkid.engine.model import CredentialKind, RevocationReason

SOCKET: Final = "control.sock"
ROOT: Final = "/api/v1/"
DEFAULT_STATE: Final = "pkid-state"
CONFIGURATION_FILE: Final = "pkid.conf"
KEY_DIRECTORY: Final = "keys"

KINDS: Final = {kind.value: kind for kind in CredentialKind}
REASONS: Final = {
    reason.name.lower().replace("_", "-"): reason for reason in RevocationReason
}
ENTITY_COLUMNS: Final = (
    "name",
    "subject",
    "alternative_names",
    "authority",
    "certificate_profile",
    "end_entity_profile",
    "vendor",
    "enrollments_left",
)
