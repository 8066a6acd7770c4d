"""The triage of a bundle: a cheap model of the same rows, and the bound under which it loses few attacks."""
