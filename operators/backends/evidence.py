"""Counters of the data plane, as scraped -> what was observed of the variants, and how loaded they are. Pure.

Every source (operators.backends.metrics_pages, operators.backends.prometheus) ends here: samples of one moment in, a `Scrape`
out. Contract of the metrics: docs/reference/metrics.md, `vedette_evidence_*`. operators.rollout.judging.judge interprets the counters."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from operators.backends.exposition import Series
from operators.rollout.evidence import Observation, ReplicaEvidence, key
from operators.rollout.spec import GateName
from serving.telemetry.names import (
    EVIDENCE_BAD,
    EVIDENCE_ENTITIES,
    EVIDENCE_ENTITIES_BAD,
    EVIDENCE_PAIRS,
    EVIDENCE_REQUESTS,
    EVIDENCE_ROWS,
    EVIDENCE_SCORE_BINS,
    EVIDENCE_SEGMENT_ALERTS,
    EVIDENCE_SEGMENT_ROWS,
    LOOP_LATE,
    LOOP_LOOKS,
    MODEL_FAILED,
    MODEL_INFO,
    ONGOING,
    REQUESTS,
    SECONDS,
    START,
)

_BUCKET, _SUM, _COUNT = SECONDS.exposed
SERIES: Final[Mapping[str, tuple[str, ...]]] = {
    name: labels
    for doc in (
        EVIDENCE_REQUESTS,
        EVIDENCE_ROWS,
        EVIDENCE_BAD,
        EVIDENCE_ENTITIES,
        EVIDENCE_ENTITIES_BAD,
        EVIDENCE_PAIRS,
        EVIDENCE_SCORE_BINS,
        EVIDENCE_SEGMENT_ROWS,
        EVIDENCE_SEGMENT_ALERTS,
        MODEL_INFO,
        MODEL_FAILED,
        ONGOING,
        LOOP_LATE,
        LOOP_LOOKS,
        REQUESTS,
        SECONDS,
        START,
    )
    for name, labels in doc.exposed.items()
    if name != _COUNT
}
"""Every series that is read, and its labels, as the data plane's catalogue has them. All also have `replica`."""

_GATES: Final = frozenset(GateName)
_COUNTS: Final = {
    EVIDENCE_REQUESTS.name: ("requests", "mirrored"),
    EVIDENCE_ROWS.name: ("rows", "mirrored_rows"),
}
_SEGMENTS: Final = {
    (EVIDENCE_SEGMENT_ROWS.name, "live"): "segment_rows",
    (EVIDENCE_SEGMENT_ALERTS.name, "live"): "segment_alerts",
    (EVIDENCE_SEGMENT_ROWS.name, "entity"): "segment_entities",
    (EVIDENCE_SEGMENT_ALERTS.name, "entity"): "segment_entity_alerts",
    (EVIDENCE_SEGMENT_ROWS.name, "mirror"): "mirrored_segment_rows",
    (EVIDENCE_SEGMENT_ALERTS.name, "mirror"): "mirrored_segment_alerts",
}
ScrapedSample = tuple[Series, float]
_Place = tuple[str, str, tuple[tuple[str, str], ...]]
"""Of a counter: replica, name, labels of its own."""
_MOST: Final = 2.0**53
"""A counter beyond it no longer grows by one."""


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """One replica's load counters. buckets_s: answered requests by upper bound in seconds, cumulative, over doors and models.
    taken_s: how long they took, summed. late_s, looks: how late its loop was, summed over its looks at the clock."""

    ongoing: float = 0.0
    answered: float = 0.0
    mirrored: float = 0.0
    taken_s: float = 0.0
    late_s: float = 0.0
    looks: float = 0.0
    buckets_s: Mapping[float, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one look read. at: when the counters were true, UTC. problem: why some or all of it was not read. silent: the addresses that did
    not answer, if nothing else was wrong."""

    at: datetime
    replicas: tuple[ReplicaEvidence, ...] = ()
    traffic: Mapping[str, ReplicaLoad] = field(default_factory=dict)
    problem: str | None = None
    silent: tuple[str, ...] = ()

    def observation(self, expected_replicas: int, wanted_replicas: int | None = None) -> Observation:
        """As the rollout core wants it. expected_replicas: how many should have answered. wanted_replicas: as in Observation."""
        return Observation(
            at=self.at,
            replicas=self.replicas,
            expected_replicas=expected_replicas,
            wanted_replicas=wanted_replicas,
            problem=self.problem,
        )


def read_samples(model: str, pages: Iterable[Iterable[ScrapedSample]], at: datetime, *, problem: str | None = None) -> Scrape:
    """Fold the samples of pages, of any number of replicas.

    Samples of other models are left out, also from the replicas' sums of load where they name their model. What two pages tell of one
    replica counts once, at its larger value: counters only grow. Pairs are summed over stable's revisions (`against`) before, page by
    page: a replica counts those with revisions long gone together, so two pages may have the same pairs under two names.
    A sample without the label `replica` belongs to a replica called `only`. A replica with a sample that cannot be counted is
    left out, and `problem` says so: never raises."""
    largest: dict[_Place, float] = {}
    damaged: dict[str, str] = {}
    for page in pages:
        for place, value in _of_page(model, page, damaged).items():
            largest[place] = max(value, largest.get(place, 0.0))
    drafts: defaultdict[str, _Draft] = defaultdict(_Draft)
    replicas: dict[str, ReplicaEvidence] = {}
    for (replica, name, own), value in largest.items():
        try:
            drafts[replica].add(name, dict(own), value)
        except KeyError as missing:
            damaged[replica] = f"{name} has no label {missing}"
        except ValueError as wrong:
            damaged[replica] = f"{name}: {wrong}"
    for replica in sorted(drafts.keys() - damaged.keys()):
        try:
            replicas[replica] = drafts[replica].evidence(replica)
        except ValidationError as invalid:
            damaged[replica] = str(invalid.errors()[0]["msg"])
    problems = [*([problem] if problem else ()), *(f"replica {name}: {why}" for name, why in sorted(damaged.items())[:3])]
    traffic = {name: drafts[name].traffic() for name in replicas}
    return Scrape(at, tuple(replicas.values()), traffic, "; ".join(problems) or None)


def _of_page(model: str, page: Iterable[ScrapedSample], damaged: dict[str, str]) -> Mapping[_Place, float]:
    """What one page tells of a model, pairs summed over stable's revisions. damaged: gets the replicas that it damages, and how."""
    found: dict[_Place, float] = {}
    pairs: dict[_Place, float] = {}
    for (name, labels), value in page:
        if name not in SERIES or labels.get("model", model) != model:
            continue
        replica = labels.get("replica", "only")
        own = tuple((n, labels[n]) for n in SERIES[name] if n in labels and n != "model")
        if not 0 <= value <= _MOST:
            damaged[replica] = f"{name} is {value:g}, expected a finite number, 0 or more"
            continue
        kept = pairs if name == EVIDENCE_PAIRS.name else found
        place = replica, name, own
        kept[place] = max(value, kept.get(place, 0.0))
    for (replica, name, own), value in pairs.items():
        place = replica, name, tuple((n, label) for n, label in own if n != "against")
        found[place] = found.get(place, 0.0) + value
    return found


class _Draft:
    """One replica while its samples come in."""

    def __init__(self) -> None:
        self._tallies: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        self._loaded: list[str] = []
        self._failed: dict[str, str] = {}
        self._ongoing = self._answered = self._mirrored = 0.0
        self._taken_s = self._late_s = self._looks = 0.0
        self._buckets: defaultdict[float, float] = defaultdict(float)

    def add(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """Take one sample of one of SERIES. Raises KeyError if a label is missing, ValueError if one is not a number."""
        if name.startswith("vedette_evidence_"):
            self._evidence(name, labels, int(value))
        elif name == MODEL_INFO.name:
            if value > 0:
                self._loaded.append(labels["revision"])
        elif name == MODEL_FAILED.name:
            if value > 0:
                self._failed[labels["revision"]] = labels.get("reason", "it could not be loaded")
        elif name == ONGOING.name:
            self._ongoing += value
        elif name == REQUESTS.name:
            self._answered += value
        elif name == LOOP_LATE.name:
            self._late_s += value
        elif name == LOOP_LOOKS.name:
            self._looks += value
        elif name == _SUM and labels.get("stage") == "total":
            self._taken_s += value
        elif name == _BUCKET and labels.get("stage") == "total":
            self._buckets[float(labels["le"])] += value

    def evidence(self, replica: str) -> ReplicaEvidence:
        """All of it, once every sample was taken."""
        return ReplicaEvidence.model_validate(
            {
                "replica": replica,
                "loaded": tuple(dict.fromkeys(self._loaded)),
                "failed": {r: why for r, why in self._failed.items() if r not in self._loaded},
                "tallies": self._tallies,
            }
        )

    def traffic(self) -> ReplicaLoad:
        """Its load counters."""
        return ReplicaLoad(
            ongoing=self._ongoing,
            answered=self._answered,
            mirrored=self._mirrored,
            taken_s=self._taken_s,
            late_s=self._late_s,
            looks=self._looks,
            buckets_s=dict(self._buckets),
        )

    def _evidence(self, name: str, labels: Mapping[str, str], count: int) -> None:
        tally, is_mirror = self._tallies[key(labels["variant"], labels["revision"])], labels.get("route") == "mirror"
        if name in _COUNTS:
            tally[_COUNTS[name][is_mirror]] = count
            if name == EVIDENCE_REQUESTS.name and is_mirror:
                self._mirrored += count
        elif name == EVIDENCE_ENTITIES.name:
            tally["entities"] = count
        elif name == EVIDENCE_PAIRS.name:
            tally.setdefault("pairs", {})[f"{labels['reference']}>{labels['candidate']}"] = count
        elif name == EVIDENCE_SCORE_BINS.name:
            tally.setdefault("scores", {})[labels["le"]] = count
        elif name in (EVIDENCE_SEGMENT_ROWS.name, EVIDENCE_SEGMENT_ALERTS.name):
            kind = _SEGMENTS.get((name, labels["unit"]))
            if kind is not None:
                tally.setdefault(kind, {})[labels["segment"]] = count
        elif labels["gate"] in _GATES:
            kind = "entities_bad" if name == EVIDENCE_ENTITIES_BAD.name else ("bad", "mirrored_bad")[is_mirror]
            tally.setdefault(kind, {})[labels["gate"]] = count
