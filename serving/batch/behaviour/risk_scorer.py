"""Makes the two tables of a behavioural model, window by window: the peers that each entity was seen with, and the risk of each entity.

Peers come first, for all windows; then each window's risk can look at those of the days before, in any order."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from serving.batch.behaviour.events import events_of
from serving.batch.behaviour.features import window_features
from serving.batch.behaviour.history import pair_hashes, pairs_table, seen_before
from serving.batch.behaviour.planning import PEERS
from serving.batch.behaviour.risk_rows import risk_schema, risk_table
from serving.batch.behaviour.spec import FILE, BehaviourSpec
from serving.batch.data.columns import TypedRows, read_columns
from serving.batch.data.event_times import NO_TIME
from serving.batch.data.inputs import AT, read_unit
from serving.batch.errors import BatchError
from serving.batch.job import BatchJob
from serving.batch.output import HashingStream, UnitDone, file_of, record
from serving.batch.plan import WorkUnit
from serving.batch.scoring.composed import ComposedScorer
from serving.messages import Tensor
from serving.models.bundle import Bundle

_ANSWERS: Final = 4096
"""Entities of one request."""


def behaviour_of(bundle: Bundle) -> BehaviourSpec | None:
    """What a behavioural bundle counts; None for a bundle of another kind. Raises BatchError."""
    if FILE not in bundle.manifest.files:
        return None
    try:
        return msgspec.json.decode((bundle.folder / FILE).read_bytes(), type=BehaviourSpec)
    except (OSError, msgspec.DecodeError) as problem:
        raise BatchError(f"{bundle.folder / FILE}: cannot be read ({problem}); train the model again") from problem


class RiskScorer:
    """One worker. Not for several threads."""

    def __init__(self, job: BatchJob, scorer: ComposedScorer) -> None:
        self._job, self._scorer = job, scorer
        spec = behaviour_of(scorer.bundle)
        if spec is None:
            raise BatchError(f"model {job.model!r} is no behavioural model")
        self._spec = spec

    def close(self) -> None:
        """Release everything."""
        self._scorer.close()

    def run(self, unit: WorkUnit, tell: Callable[[int], object] = lambda rows: None) -> UnitDone:
        """Make one file: of peers or of risk, as the unit's name says. Raises BatchError, ServingError."""
        table = read_unit(self._scorer.input, unit, self._spec.source)
        rows = read_columns(table, self._spec.source)
        at_us = table[AT].to_numpy()
        is_good = at_us != NO_TIME
        is_good[list(rows.why)] = False
        is_peers = unit.name.startswith(f"{PEERS}/")
        counts: Counter[str] = Counter(rejected=int((~is_good).sum()))
        with self._scorer.output.replacing(file_of(unit.name)) as file:
            stream = HashingStream(file)
            if is_peers:
                counts = Counter()
                pq.write_table(self._pairs(rows, at_us, is_good), stream, compression="zstd")
            else:
                with pq.ParquetWriter(stream, risk_schema(self._spec), compression="zstd") as writer:
                    for part in self._risks(rows, at_us, is_good, unit, counts):
                        writer.write_table(part)
        tell(unit.rows)
        entry = self._scorer.entry(unit, 0 if is_peers else len(at_us), counts, stream)
        record(self._scorer.output, entry)
        return entry

    def _pairs(self, rows: TypedRows, at_us: NDArray[np.int64], is_good: NDArray[np.bool_]) -> Any:
        entity, peer, some = self._ends(rows, is_good)
        return pairs_table(entity[some], peer[some], at_us[is_good][some])

    def _ends(self, rows: TypedRows, is_good: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
        """Entities, peers, and which of them have both, of the good events."""
        roles = self._spec.roles
        entity, peer = (rows.columns[name].values[is_good] for name in (roles.entity, roles.peer))
        return entity, peer, np.array([value != b"" for value in peer.tolist()], dtype=np.bool_)

    def _risks(
        self, rows: TypedRows, at_us: NDArray[np.int64], is_good: NDArray[np.bool_], unit: WorkUnit, counts: Counter[str]
    ) -> Any:
        if not is_good.any():
            return
        entity, peer, _ = self._ends(rows, is_good)
        known = seen_before(self._scorer.output, [file_of(name) for name in unit.after], pair_hashes(entity, peer))
        events, keys = events_of(rows, at_us, self._spec.roles, is_good, known)
        codes, features, numbers = window_features(events)
        enough = np.flatnonzero(numbers >= self._spec.least_events)
        counts["too_few_events"] += len(numbers) - len(enough)
        window = (unit.from_us or 0, unit.to_us or 0)
        for first in range(0, len(enough), _ANSWERS):
            index = enough[first : first + _ANSWERS]
            part = {name: values[index] for name, values in features.items()}
            answer = self._scorer.ask(self._inputs(keys[codes[index]], part))
            made = risk_table(
                self._spec, keys[codes[index]], window, numbers[index], part, answer, is_history_known=known is not None
            )
            for found in made["verdict"].value_counts().to_pylist():
                counts[found["values"]] += found["counts"]
            yield made

    def _inputs(self, keys: NDArray[Any], features: Mapping[str, NDArray[np.float64]]) -> tuple[Tensor, ...]:
        manifest = self._scorer.bundle.manifest
        entities = [Tensor(key.name, "BYTES", keys) for key in manifest.entity_keys]
        return (*entities, *(Tensor(field.name, "FP64", features[field.name]) for field in manifest.request_fields))
