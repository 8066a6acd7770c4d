"""Scores units on a Ray cluster: Ray Data streams runs of units to a pool of actors, each with a Scorer of its own.

Rows never pass through Ray: an actor reads its unit's rows itself and commits the file itself; only entries come back. So the memory
of a job is that of its actors, each of which holds one unit. Ray starts a dead actor's work anew; a unit that was committed before is
scored twice and has one file. The one door of this room to Ray."""

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Final

import msgspec

from serving.batch.errors import BatchError
from serving.batch.job import BatchJob
from serving.batch.output import UnitDone
from serving.batch.plan import WorkUnit, chains
from serving.batch.run import Workers
from serving.batch.scorers import open_scorer
from serving.batch.scoring.composed import ComposeWith
from serving.clock import SystemClock

RUNS_PER_ACTOR: Final = 4
"""Runs of units for each actor: few, because the first of a run reads earlier events for its windows; more than one, because some take
longer than others."""


def on_ray(compose: ComposeWith, actors: int, address: str | None = None) -> Workers:
    """Score on so many actors. address: of the cluster; None: one of this machine, which ends with the work."""

    def score(job: BatchJob, units: Sequence[WorkUnit]) -> Iterator[UnitDone]:
        import ray

        started = nullcontext() if ray.is_initialized() else _cluster(actors) if address is None else _connected(address)
        with started:
            yield from _scored(job, units)

    def _scored(job: BatchJob, units: Sequence[WorkUnit]) -> Iterator[UnitDone]:
        import ray
        from ray.data import ActorPoolStrategy, DataContext

        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = False
        try:
            runs = chains(units, actors * RUNS_PER_ACTOR)
            items = [{"units": msgspec.json.encode(run)} for run in runs]
            data = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
                _Actor,
                fn_constructor_args=(msgspec.json.encode(job), compose),
                batch_size=1,
                compute=ActorPoolStrategy(size=min(actors, len(items))),
                num_cpus=1,
                max_restarts=-1,
                max_task_retries=2,
            )
            for row in data.iter_rows():
                yield msgspec.json.decode(row["entry"], type=UnitDone)
        except ray.exceptions.RayError as problem:
            raise BatchError(
                f"the job stopped on Ray: {_cause(problem)}; start it again, and it goes on where it was"
            ) from problem

    return score


@contextmanager
def _cluster(actors: int) -> Iterator[None]:
    """A Ray of this machine, which nobody else can reach, for as long as the block takes."""
    import ray

    from serving.ray_loopback import keep_cluster_to_loopback

    keep_cluster_to_loopback()
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's default is 15: on a busy machine a model would not load in time
    with tempfile.TemporaryDirectory(prefix="vedette-ray-", ignore_cleanup_errors=True) as folder:
        ray.init(
            address="local",
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
            num_cpus=actors,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """The cluster at this address."""
    import ray

    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


class _Actor:
    """One worker of the pool."""

    def __init__(self, job: bytes, compose: ComposeWith) -> None:
        self._scorer = open_scorer(msgspec.json.decode(job, type=BatchJob), compose, SystemClock())

    def __call__(self, batch: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for run in batch["units"].tolist():
            for unit in msgspec.json.decode(run, type=list[WorkUnit]):
                yield {"entry": [msgspec.json.encode(self._scorer.run(unit))]}


def _cause(problem: BaseException) -> str:
    inner = getattr(problem, "cause", None) or problem.__cause__
    return str(inner or problem).strip().splitlines()[-1]
