"""ACME (RFC 8555): accounts, orders and challenges over signed JSON."""
