"""A gate, and an issuer of tokens."""
