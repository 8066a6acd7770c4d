"""Sends bundles to other registries and fetches them: MLflow, Weights & Biases. Each is an adapter of one port, imported on demand."""
