"""Cryptographic Message Syntax: values that codecs, crypto and keys share."""
