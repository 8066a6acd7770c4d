"""What the replicas counted of a load, for what a generator does not see: a status of gRPC, or that features were not read.

A generator takes a fast error, or an answer for which a read was given up, for a fast answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final

from loadtests.bench.errors import BenchError
from loadtests.bench.process import Running, connection_to

MOST_WITHOUT_FEATURES: Final = 0.01
"""Share of the answers of a load whose p99 is judged: with more, quick answers without features may stand for the slowest."""
MOST_OF_A_LOAD: Final = 0.05
"""The same of any other load. Single reads that came too late belong to it; more of them are answers of a replica that reads no more."""


@dataclass(frozen=True, slots=True)
class ReplicaCounts:
    """Of all replicas of a store together. requests: that ended in any way. ok: of these, those with an answer. degraded: rows that were
    answered while a feature was missing, too old or not read in time."""

    requests: float
    ok: float
    degraded: float

    def since(self, before: "ReplicaCounts") -> "ReplicaCounts":
        """What came after those before."""
        return ReplicaCounts(self.requests - before.requests, self.ok - before.ok, self.degraded - before.degraded)

    @property
    def failed(self) -> float:
        """Requests without an answer."""
        return self.requests - self.ok

    @property
    def without_features(self) -> float:
        """Share of the answers that lacked a feature, where each request has one row; 0 if there were none."""
        return self.degraded / self.ok if self.ok > 0 else 0.0


def read_counts(page: str) -> ReplicaCounts:
    """The counts on a page of metrics.

    >>> page = 'vedette_requests_total{outcome="ok"} 9\\nvedette_requests_total{outcome="refused"} 1\\nvedette_degraded_rows_total{} 3\\n'
    >>> read_counts(page)
    ReplicaCounts(requests=10.0, ok=9.0, degraded=3.0)
    """
    requests = ok = degraded = 0.0
    for line in page.splitlines():
        if line.startswith("vedette_requests_total{"):
            value = float(line.rpartition(" ")[2])
            requests += value
            ok += value if 'outcome="ok"' in line else 0.0
        elif line.startswith("vedette_degraded_rows_total{"):
            degraded += float(line.rpartition(" ")[2])
    return ReplicaCounts(requests, ok, degraded)


def counts_of(server: Running) -> ReplicaCounts:
    """What has been counted so far. Raises BenchError."""
    return counts_at(server.http_port, server.authority)


def counts_at(port: int, authority: Path | None = None) -> ReplicaCounts:
    """The same behind a port, over TLS if an authority is given. Raises BenchError."""
    connection = connection_to(port, authority, timeout_s=10)
    try:
        connection.request("GET", "/metrics")
        return read_counts(connection.getresponse().read().decode())
    except (OSError, HTTPException) as problem:
        raise BenchError(f"the metrics at port {port} cannot be read: {problem!r}") from problem
    finally:
        connection.close()


def check_features(counts: ReplicaCounts, name: str, most: float = MOST_OF_A_LOAD) -> None:
    """Raises BenchError if more than this share of the answers lacked a feature. name: of the server."""
    if counts.without_features > most:
        raise BenchError(
            f"{counts.degraded:.0f} of {counts.ok:.0f} answers of {name} lack features: their times are not those of reads"
        )


@contextmanager
def with_features(server: Running, most: float = MOST_OF_A_LOAD) -> Iterator[None]:
    """Raises BenchError at the end of the block as `check_features`, for what was answered within it."""
    before = counts_of(server)
    yield
    check_features(counts_of(server).since(before), server.name, most)


@contextmanager
def all_answered(server: Running, *, cut_off: int) -> Iterator[None]:
    """Raises BenchError at the end of the block if requests within it failed. cut_off: how many may be under way when a load ends."""
    before = counts_of(server)
    yield
    counts = counts_of(server).since(before)
    if counts.failed > cut_off:
        raise BenchError(f"{counts.failed:.0f} of {counts.requests:.0f} requests failed, as {server.name} counted them")
