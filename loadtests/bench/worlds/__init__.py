"""What a benchmark runs in: feature stores, a Redis of its own, faults."""
