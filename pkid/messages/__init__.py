"""Message codecs: octets to frozen values and back. No clock, no log, no Twisted."""
