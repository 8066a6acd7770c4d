"""Benchmarks of rows of features that a replica keeps in memory."""
