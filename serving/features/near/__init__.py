"""Feature rows kept in the replica's memory, and kept true by what the store says of its changes. Only values, no connection."""
