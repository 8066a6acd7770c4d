"""The page Models of the console."""
