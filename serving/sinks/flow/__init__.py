"""Which alerts a sink gets: repeats, floods and groups. Pure: the time comes in as an argument."""
