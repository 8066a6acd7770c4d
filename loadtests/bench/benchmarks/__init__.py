"""The benchmarks: each module's `run` compares alternatives in one run."""
