"""SIGMA correlations over a stream: the state of a partition, made from the rules of the bundle that scores it."""
