"""Counters of the data plane, as scraped -> what was observed of the variants, and how loaded they are. Pure.

Every source (operators.backends.metrics_pages, operators.backends.prometheus) ends here: samples of one moment in, a `Scrape`
out. Contract of the metrics: docs/reference/metrics.md, `vedette_evidence_*`. What the counters prove is
operators.rollout.judge's."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from operators.backends.exposition import Series
from operators.rollout.evidence import Observation, ReplicaEvidence, key
from operators.rollout.spec import GateName

FAMILIES: Final = (
    "vedette_evidence_requests_total",
    "vedette_evidence_rows_total",
    "vedette_evidence_bad_total",
    "vedette_evidence_entities_total",
    "vedette_evidence_entities_bad_total",
    "vedette_evidence_pairs_total",
    "vedette_evidence_score_bins_total",
    "vedette_model_info",
    "vedette_model_failed",
    "vedette_ongoing_requests",
    "vedette_loop_late_seconds_total",
    "vedette_loop_looks_total",
    "vedette_requests_total",
    "vedette_request_seconds_bucket",
    "vedette_request_seconds_sum",
    "vedette_start_time_seconds",
)
"""Every family that is read."""

_GATES: Final = frozenset(GateName)
_COUNTS: Final = {
    "vedette_evidence_requests_total": ("requests", "mirrored"),
    "vedette_evidence_rows_total": ("rows", "mirrored_rows"),
}


@dataclass(frozen=True, slots=True)
class Traffic:
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
    """What one look read. at: when the counters were true, UTC. problem: why nothing, or not everything, was read."""

    at: datetime
    replicas: tuple[ReplicaEvidence, ...] = ()
    traffic: Mapping[str, Traffic] = field(default_factory=dict)
    problem: str | None = None

    def observation(self, expected_replicas: int) -> Observation:
        """As the rollout core wants it. expected_replicas: how many should have answered."""
        return Observation(at=self.at, replicas=self.replicas, expected_replicas=expected_replicas, problem=self.problem)


def read_samples(model: str, samples: Iterable[tuple[Series, float]], at: datetime, *, problem: str | None = None) -> Scrape:
    """Fold samples of any number of replicas.

    Samples of other models are left out, also from the replicas' sums of load where they name their model. A series that comes
    twice (two pages that both speak for one replica) counts once, at its larger value: counters only grow.
    A sample without the label `replica` belongs to a replica called `only`."""
    largest: dict[tuple[str, str, tuple[tuple[str, str], ...]], float] = {}
    for (name, labels), value in samples:
        if name in _KNOWN and labels.get("model", model) == model:
            own = tuple((n, labels[n]) for n in _KNOWN[name] if n in labels)
            place = (labels.get("replica", "only"), name, own)
            if value > largest.get(place, -1.0):
                largest[place] = value
    drafts: defaultdict[str, _Draft] = defaultdict(_Draft)
    for (replica, name, own), value in largest.items():
        drafts[replica].add(name, dict(own), value)
    replicas = tuple(drafts[name].evidence(name) for name in sorted(drafts) if drafts[name].is_started)
    return Scrape(at, replicas, {name: d.traffic() for name, d in drafts.items() if d.is_started}, problem)


_MODEL: Final = ("variant", "revision")
_KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "vedette_evidence_requests_total": (*_MODEL, "route"),
    "vedette_evidence_rows_total": (*_MODEL, "route"),
    "vedette_evidence_bad_total": (*_MODEL, "route", "gate"),
    "vedette_evidence_entities_total": _MODEL,
    "vedette_evidence_entities_bad_total": (*_MODEL, "gate"),
    "vedette_evidence_pairs_total": (*_MODEL, "against", "reference", "candidate"),
    "vedette_evidence_score_bins_total": (*_MODEL, "le"),
    "vedette_model_info": (*_MODEL, "version"),
    "vedette_model_failed": (*_MODEL, "version", "reason"),
    "vedette_ongoing_requests": (),
    "vedette_loop_late_seconds_total": (),
    "vedette_loop_looks_total": (),
    "vedette_requests_total": ("version", "variant", "door", "outcome"),
    "vedette_request_seconds_sum": ("version", "variant", "door", "stage"),
    "vedette_request_seconds_bucket": ("version", "variant", "door", "stage", "le"),
    "vedette_start_time_seconds": (),
}


class _Draft:
    """One replica while its samples come in."""

    def __init__(self) -> None:
        self.is_started = False
        self._tallies: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        self._loaded: list[str] = []
        self._failed: dict[str, str] = {}
        self._ongoing = self._answered = self._mirrored = 0.0
        self._taken_s = self._late_s = self._looks = 0.0
        self._buckets: defaultdict[float, float] = defaultdict(float)

    def add(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """Take one sample of one of FAMILIES."""
        self.is_started = True
        if name.startswith("vedette_evidence_"):
            self._evidence(name, labels, int(value))
        elif name == "vedette_model_info":
            if value > 0:
                self._loaded.append(labels["revision"])
        elif name == "vedette_model_failed":
            if value > 0:
                self._failed[labels["revision"]] = labels.get("reason", "it could not be loaded")
        elif name == "vedette_ongoing_requests":
            self._ongoing += value
        elif name == "vedette_requests_total":
            self._answered += value
        elif name == "vedette_loop_late_seconds_total":
            self._late_s += value
        elif name == "vedette_loop_looks_total":
            self._looks += value
        elif name == "vedette_request_seconds_sum" and labels.get("stage") == "total":
            self._taken_s += value
        elif name == "vedette_request_seconds_bucket" and labels.get("stage") == "total":
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

    def traffic(self) -> Traffic:
        """Its load counters."""
        return Traffic(
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
            if name == "vedette_evidence_requests_total" and is_mirror:
                self._mirrored += count
        elif name == "vedette_evidence_entities_total":
            tally["entities"] = count
        elif name == "vedette_evidence_pairs_total":
            pairs, both = tally.setdefault("pairs", {}), f"{labels['reference']}>{labels['candidate']}"
            pairs[both] = pairs.get(both, 0) + count  # whichever revision was stable then
        elif name == "vedette_evidence_score_bins_total":
            tally.setdefault("scores", {})[labels["le"]] = count
        elif labels["gate"] in _GATES:
            kind = "entities_bad" if name == "vedette_evidence_entities_bad_total" else ("bad", "mirrored_bad")[is_mirror]
            tally.setdefault(kind, {})[labels["gate"]] = count
