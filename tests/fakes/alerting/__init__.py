"""A real Prometheus with our rules, a real Alertmanager with the example's routes, and somebody who is told."""
