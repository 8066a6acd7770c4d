"""From credentials to callers: tokens and the keys of their issuers, API keys, client certificates."""
