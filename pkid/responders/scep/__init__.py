"""SCEP: RFC 8894 and what draft-nourse-scep-23 clients still do."""
