"""Benchmarks of work on files, without a server."""
