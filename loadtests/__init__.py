"""Load tests and benchmarks: Locust users, shapes and objectives for both doors; `bench` compares servers side by side.

Talks to servers from outside, as a client does; imports neither lifecycle nor operators."""
