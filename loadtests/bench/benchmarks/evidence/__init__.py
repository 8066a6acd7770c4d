"""Benchmarks of what judges models and their data."""
