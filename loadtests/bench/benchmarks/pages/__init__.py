"""Benchmarks of pages for people."""
