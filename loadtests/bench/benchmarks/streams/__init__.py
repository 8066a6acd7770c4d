"""Benchmarks of streams: what a worker does with events, and what comes out of a real broker."""
