"""The certification authority, protocol-neutral, and its one path."""
