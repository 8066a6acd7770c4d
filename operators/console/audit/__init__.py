"""The page Audit of the console."""
