"""The surroundings of a benchmark: feature stores, a Redis of its own, faults."""
