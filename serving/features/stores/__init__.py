"""Where online features are kept: Redis, SQLite, a feature server. Each reads raw values for a plan."""
