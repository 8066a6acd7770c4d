"""Benchmarks of what a stream worker does to events."""
