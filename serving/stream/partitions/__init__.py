"""PARTITIONS: the state of each partition that a worker owns: held events, states, the read position, the changelog. Pure."""
