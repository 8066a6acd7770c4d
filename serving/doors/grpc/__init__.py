"""gRPC: the inference service, health and reflection."""
