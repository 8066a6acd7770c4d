"""A console over a folder, really listening, and what it shows."""
