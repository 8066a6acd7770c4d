"""Figures with a target that the reference publishes: docs/reference/benchmarks.json and the table that is made of it."""
