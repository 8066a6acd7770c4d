"""Feature rows kept in the replica's memory, and invalidated when the store reports changes. Only values, no connection."""
