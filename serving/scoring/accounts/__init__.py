"""The records of answers."""
