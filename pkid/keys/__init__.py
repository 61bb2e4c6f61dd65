"""The only package that touches private keys and secrets at rest."""
