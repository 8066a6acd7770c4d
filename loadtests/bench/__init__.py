"""Benchmarks that compare within one run."""
