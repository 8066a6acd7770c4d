"""A read model of a store's logs: what the pages look up, in one SQLite file that can be made again from the logs at any time."""
