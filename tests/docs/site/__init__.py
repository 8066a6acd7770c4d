"""The documentation site: how it is built, and what it must not do."""
