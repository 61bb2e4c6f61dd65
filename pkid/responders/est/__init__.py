"""EST: enrolment over secure transport (RFC 7030, 8951, 9908, 8295)."""
