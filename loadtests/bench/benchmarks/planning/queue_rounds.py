"""Open loads of one replica at several rates, in rounds, from which its queue is fitted.

In each round every rate is sent once; the order is another one in each, so that what other work on the machine does meets all rates
alike. The replica has a core of its own where there are two or more, as it has on a node; generator, Redis and Ray have the others."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import sched_getaffinity
from pathlib import Path
from typing import Final

from loadtests.bench.benchmarks.doors import say
from loadtests.bench.benchmarks.planning import costs
from loadtests.bench.cores import keep_to, self_on, tree_of
from loadtests.bench.errors import BenchError
from loadtests.bench.load.exact_load import load_exactly
from loadtests.bench.load.open_load import OpenSample
from loadtests.bench.load.replica_counts import check_features, read_counts
from loadtests.bench.profiling import replica_of
from loadtests.bench.workload import INFER_PATH
from loadtests.bench.worlds.featured import Featured
from operators.capacity.fitting import RateSample

CLIENTS: Final = 32
MOST_REFUSED: Final = 0.005
"""Share of the requests of a load that may be refused; its p99 is then still that of answers."""
_SEED_STEP: Final = 7919


@dataclass(frozen=True, slots=True)
class RateLoad:
    """An open load, with what the replica took for each second of it: processor time of its process; of the loop's thread (loop); and how
    long that thread could run and had no core (waited)."""

    load: OpenSample
    rate: float
    busy: float
    loop: float
    waited: float

    @property
    def of_queue(self) -> RateSample:
        """As the fit takes it."""
        load = self.load
        return RateSample(self.rate, self.loop, (load.p50_ms / 1000, load.p90_ms / 1000, load.p99_ms / 1000), self.waited)


@contextmanager
def core_of_its_own(up: Featured, store: Path) -> Iterator[int]:
    """The replica on the first core while the block runs, all else of the benchmark on the others; gives the replica's pid."""
    import redis

    pid, cores = replica_of(store), sorted(sched_getaffinity(0))
    with redis.Redis.from_url(up.url) as client:
        store_pid = int(client.info("server")["process_id"])
    beside = set(cores[1:] or cores)
    keep_to([*tree_of(up.vedette.pid), store_pid], beside)
    keep_to([pid], cores[:1])
    with self_on(beside):
        yield pid
    keep_to([*tree_of(up.vedette.pid), store_pid, pid], cores)


def ask(up: Featured, pid: int, rate: float, duration_s: float, seed: int = 1) -> RateLoad:
    """One load. Raises BenchError if more than MOST_REFUSED was refused, too many answers lack features, or the generator was the
    bottleneck."""
    page, threads = costs.page_of(up.vedette), times_of_threads(Path(f"/proc/{pid}/task"))
    found = load_exactly(
        up.vedette.http_port, INFER_PATH, up.bodies, rate=rate, clients=CLIENTS, duration_s=duration_s, seed=seed,
        most_failed=MOST_REFUSED,
    )  # fmt: skip
    after = times_of_threads(Path(f"/proc/{pid}/task"))
    name, page_after = "process_cpu_seconds_total", costs.page_of(up.vedette)
    check_features(read_counts(page_after).since(read_counts(page)), f"{up.vedette.name} at {rate:,.0f} req/s")
    busy = costs.value_of(page_after, name) - costs.value_of(page, name)
    ran, waited = max(
        (ran - threads.get(tid, (0, 0))[0], waited - threads.get(tid, (0, 0))[1]) for tid, (ran, waited) in after.items()
    )
    lasted_s = max(duration_s, found.answered / max(found.rate, 1e-9))  # a load that is behind lasts longer
    return RateLoad(found, rate, busy / lasted_s, ran / lasted_s, waited / lasted_s)


def times_of_threads(folder: Path) -> dict[str, tuple[float, float]]:
    """Of each thread, by its id: seconds on a core, and seconds of waiting for one (Linux, `schedstat`)."""
    found = {}
    for task in folder.iterdir():
        try:
            ran, waited, _ = (task / "schedstat").read_text(encoding="ascii").split()
        except OSError:  # it ended
            continue
        found[task.name] = (int(ran) * 1e-9, int(waited) * 1e-9)
    return found


def order_of(rates: Sequence[float], index: int) -> list[float]:
    """The order in a round: every other round goes down, and of four rates each comes first and last alike often.

    >>> [order_of([1, 2, 3, 4], index) for index in range(4)]
    [[1, 2, 3, 4], [2, 1, 4, 3], [3, 4, 1, 2], [4, 3, 2, 1]]
    """
    shift = (index + index % 2) % len(rates)
    turned = [*rates[shift:], *rates[:shift]]
    return turned[::-1] if index % 2 else turned


def queue_rounds(
    up: Featured, pid: int, rates: Sequence[float], *, rounds: int, duration_s: float, who: str
) -> list[list[RateLoad]]:
    """The loads of each round, in the order of `rates`. A round in which a load failed is left out. Raises BenchError if more than half
    of the rounds are."""
    found, why = list[list[RateLoad]](), ""
    for index in range(rounds):
        seed = index * _SEED_STEP
        try:
            loads = {rate: ask(up, pid, rate, duration_s, seed + int(rate)) for rate in order_of(rates, index)}
        except BenchError as problem:
            why = str(problem)
            say(f"capacity, {who}: round {index + 1} is left out: {why}")
            continue
        found.append([loads[rate] for rate in rates])
        told = ", ".join(
            f"{one.rate:,.0f}/s p99 {one.load.p99_ms:.1f} ms (loop {one.loop:.0%} + {one.waited:.0%})" for one in found[-1]
        )
        say(f"capacity, {who}, round {index + 1}/{rounds}: {told}")
    if len(found) * 2 < rounds:
        raise BenchError(f"{rounds - len(found)} of {rounds} rounds failed, the last one: {why}")
    return found
