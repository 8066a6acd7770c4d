"""Analysts' labels as training rows: what was answered, joined with what was said of it, weighted, put behind the base rows."""
