"""Why a benchmark could not be run.

BenchError: a server did not start or answered wrongly, or a load generator failed; the message says what and where to look."""


class BenchError(Exception):
    """A benchmark could not be measured; the message says why and where to look."""
