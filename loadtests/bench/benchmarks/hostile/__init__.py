"""Benchmarks for clients that are not trusted: TLS, and attacks beside honest clients."""
