"""Benchmarks of the records: what writing them costs, and how long queries over them take."""
