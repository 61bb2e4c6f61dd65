"""pkid: one certificate enrolment service for CMP, SCEP, EST, ACME and REST."""
