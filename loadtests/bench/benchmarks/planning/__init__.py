"""Benchmarks that capacity plans are made of."""
