"""Load tests and benchmarks: Locust users, shapes and objectives for both doors; `bench` compares servers side by side.

Talks to servers from outside, as a client does. The only thing taken from another room is the training room's flow generator, and
only where it is installed."""
