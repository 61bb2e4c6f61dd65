"""The CMP responder (RFC 9810, RFC 9483)."""
