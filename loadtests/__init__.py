"""Load tests and benchmarks: Locust users, shapes and objectives for HTTP, gRPC and Kafka; `bench` compares servers side by side.

Talks to servers from outside, as a client does. From other rooms it uses the Kafka clients, the local broker and,
where the training room is installed, what makes events of data."""
