"""Keys that sign the chain: the current signing key, and the keys that verification trusts, each with its time."""
