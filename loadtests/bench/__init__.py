"""Benchmarks that compare alternatives in one run, on one machine: `python -m loadtests.bench`, or `make bench`.

A benchmark is a module here with `run(*, quick: bool, rounds: int) -> list[Row]`. The cost of an alternative is
reported only next to the costs of the others in the same rounds: absolute times mean little. Needs the development environment,
which has every server that is compared."""
