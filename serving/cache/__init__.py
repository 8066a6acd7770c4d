"""The prediction cache: its keys, its stores, and when an entry is used again."""
