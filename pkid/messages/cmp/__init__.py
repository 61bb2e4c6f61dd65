"""Certificate Management Protocol messages (RFC 9810) and their TCP records."""
