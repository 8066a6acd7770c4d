"""Benchmarks of what the doors need where clients are not trusted: TLS, and attacks beside honest clients."""
