"""PARTITIONS: what a worker keeps of each partition that it owns: held events, states, where reading stands, the changelog. Pure."""
