"""Replicas of one store without Ray, models or a network of clients: they follow served.json and count what a known candidate would
do. The page they show is the data plane's own contract."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from serving.loading.served_file import ServedFile
from serving.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Habits:
    """Shares of a revision's requests that go wrong."""

    errors: float = 0.0
    latency: float = 0.0
    alert_rate: float = 0.05
    refuses: str | None = None
    """Why it cannot be loaded."""


@dataclass
class FakeReplicas:
    """`count` replicas of a store. habits: by bundle digest. answer() lets requests come in; page() is what /metrics shows."""

    store_dir: Path
    model: str
    count: int = 1
    habits: dict[str, Habits] = field(default_factory=dict)
    generation: int = 0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(3))
    counts: Counter[str] = field(default_factory=Counter)

    def restart(self) -> None:
        """New processes: new identities, counters from nothing."""
        self.generation += 1
        self.counts.clear()

    def entry(self) -> ModelSpec:
        spec = ServedFile(self.store_dir).read()
        assert spec is not None, "nothing is served"
        (entry,) = [m for m in spec.models if m.name == self.model]
        return entry

    def weights(self) -> dict[str, float]:
        return {v.name: v.weight for v in self.entry().variants}

    def answer(self, requests: int) -> None:
        """So many requests of distinct entities, spread by the split of now."""
        entry = self.entry()
        variants = {v.name: v for v in entry.variants if self._habits(v.revision.bundle).refuses is None}
        for replica in range(self.count):
            left = requests // self.count
            for name, variant in variants.items():
                n = int(self.rng.binomial(requests // self.count, variant.weight / 100))
                left -= n
                self._live(replica, name, variant.revision.digest, variant.revision.bundle, n)
            self._live(replica, "stable", entry.revision.digest, entry.revision.bundle, left)
            for name, variant in variants.items():
                n = int(self.rng.binomial(left, variant.mirror / 100))
                self._mirror(replica, name, variant.revision.digest, variant.revision.bundle, entry, n)

    def page(self) -> str:
        """All replicas of the machine, as any of them answers for all."""
        lines = [f"{series} {value}" for series, value in sorted(self.counts.items())]
        entry = self.entry()
        for replica in range(self.count):
            who = f'replica="{self._name(replica)}"'
            lines += [f"vedette_ongoing_requests{{{who}}} 0", f"vedette_start_time_seconds{{{who}}} 1"]
            for name, version, revision in (
                ("stable", entry.version, entry.revision),
                *((v.name, v.version, v.revision) for v in entry.variants),
            ):
                labels = f'{who},model="{self.model}",version="{version}",variant="{name}",revision="{revision.digest}"'
                why = self._habits(revision.bundle).refuses
                lines.append(
                    f'vedette_model_failed{{{labels},reason="{why}"}} 1' if why else f"vedette_model_info{{{labels}}} 1"
                )
        return "\n".join(lines) + "\n"

    def _live(self, replica: int, variant: str, revision: str, bundle: str, n: int) -> None:
        habits = self._habits(bundle)
        labels = f'replica="{self._name(replica)}",model="{self.model}",variant="{variant}",revision="{revision}"'
        self.counts[f'vedette_evidence_requests_total{{{labels},route="live"}}'] += n
        self.counts[f'vedette_evidence_rows_total{{{labels},route="live"}}'] += n
        self.counts[f"vedette_evidence_entities_total{{{labels}}}"] += n
        for gate, share in (("errors", habits.errors), ("latency", habits.latency), ("alertRate", habits.alert_rate)):
            bad = int(self.rng.binomial(n, share))
            self.counts[f'vedette_evidence_bad_total{{{labels},route="live",gate="{gate}"}}'] += bad
            self.counts[f'vedette_evidence_entities_bad_total{{{labels},gate="{gate}"}}'] += bad

    def _mirror(self, replica: int, variant: str, revision: str, bundle: str, stable: ModelSpec, n: int) -> None:
        habits, reference = self._habits(bundle), self._habits(stable.revision.bundle)
        who = f'replica="{self._name(replica)}",model="{self.model}"'
        labels = f'{who},variant="{variant}",revision="{revision}"'
        self.counts[f'vedette_evidence_requests_total{{{labels},route="mirror"}}'] += n
        self.counts[f'vedette_evidence_rows_total{{{labels},route="mirror"}}'] += n
        for gate, share in (("errors", habits.errors), ("latency", habits.latency)):
            bad = int(self.rng.binomial(n, share))
            self.counts[f'vedette_evidence_bad_total{{{labels},route="mirror",gate="{gate}"}}'] += bad
        draws = self.rng.random(n)
        for at_stable, here, share in (
            ("alert", "alert", min(habits.alert_rate, reference.alert_rate)),
            ("benign", "alert", max(0.0, habits.alert_rate - reference.alert_rate)),
            ("alert", "benign", max(0.0, reference.alert_rate - habits.alert_rate)),
        ):
            pairs = f'{labels},against="{stable.revision.digest}",reference="{at_stable}",candidate="{here}"'
            self.counts[f"vedette_evidence_pairs_total{{{pairs}}}"] += int((draws < share).sum())
            draws = draws[draws >= share] - share
        quiet = f'{labels},against="{stable.revision.digest}",reference="benign",candidate="benign"'
        self.counts[f"vedette_evidence_pairs_total{{{quiet}}}"] += len(draws)

    def _habits(self, bundle: str) -> Habits:
        return self.habits.get(bundle, Habits())

    def _name(self, replica: int) -> str:
        return f"r{self.generation}-{replica}"
