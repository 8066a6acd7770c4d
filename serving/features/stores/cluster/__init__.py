"""Redis Cluster: which node has a key, reads over all nodes at once, moved slots and lost nodes."""
