"""Bundles to and from other registries: MLflow, Weights & Biases. Each is an adapter of one port, imported when it is asked for."""
