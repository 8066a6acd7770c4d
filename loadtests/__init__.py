"""Load tests and benchmarks: Locust users, shapes and objectives for HTTP, gRPC and Kafka; `bench` compares servers side by side.

They talk to servers from outside, as clients do. From other rooms they use the clients of Kafka, the local broker and, where the
training room is installed, what makes events of data."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # bare servers are compared with ours, where onnxruntime reports nothing
