"""Stores: the embedded file store (SQLite in one directory)."""
