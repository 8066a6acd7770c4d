"""Drift: what changed between a reference and a window, how much, whether beyond chance, and what to do. One report of all checks."""
