"""Benchmarks of streams: what a worker does to events, and what comes out of a real broker."""
