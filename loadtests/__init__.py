"""Load tests (Locust) and side-by-side benchmarks."""
