"""Programs that run in a peer's own environment, without Vedette: they read files and print JSON."""
