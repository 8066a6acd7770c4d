"""Benchmarks of the records: what leaving them costs, and how long questions to them take."""
