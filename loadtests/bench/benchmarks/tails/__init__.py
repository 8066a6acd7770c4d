"""Benchmarks of single arrivals: where the time of one request goes, and at which rate the slowest of them are still quick."""
