"""The page Drift of the console."""
