"""Load tests and benchmarks: Locust users, shapes and objectives for both doors; `bench` compares servers side by side.

Talks to servers from outside, as a client does. From another room it uses only the training room's flow generator, and only
where that is installed."""
