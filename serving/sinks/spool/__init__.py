"""Alerts on disk until their sink has taken them: append-only segments, a cursor, dead letters."""
