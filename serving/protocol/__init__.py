"""The Open Inference Protocol v2: messages and codecs (pure), and the HTTP and gRPC doors."""
