"""Benchmarks of computations alone: no server, no network."""
