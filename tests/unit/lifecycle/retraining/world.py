"""A small world in which a model of logins goes stale: its answers, what analysts say of them, and what retraining sees of it."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd

from lifecycle.datasets.data import check_data
from lifecycle.evaluation.scoring import row_scores
from lifecycle.gate.bundle_checks import lineage_check, probe_checks
from lifecycle.gate.checks import GateReport
from lifecycle.labels.label import Label
from lifecycle.monitoring.alarm import Alarm
from lifecycle.monitoring.windows.answered import AnsweredRows
from lifecycle.retraining.policy import parse_policy
from lifecycle.retraining.surroundings import Surroundings
from lifecycle.training.train import add_to_store, prepare, train
from serving.models.probe import ProbeReport
from serving.models.store import BundleStore
from serving.models.verdicts import VERDICTS
from tests.fakes.acts import MemoryActs
from tests.fakes.releases import MemoryReleases
from tests.unit.lifecycle.declared import detector, rows

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
MONDAY_US = 1_772_409_600_000_000
"""2026-03-02 00:00 UTC, a Monday."""
POLICY = """
strategies: {on_demand: {min_new_labels: 30}}
cool_down: 6h
labels: {inclusion_cap: 5}
challenge: {draws: 400, newest: {false_alarm_margin: 0.1}, kept: {recall_margin: 0.2, false_alarm_margin: 0.1}}
"""


def policy(text=POLICY):
    return parse_policy(text, where="test")


def drifted(n, seed, *, kind="slow"):
    """Rows whose attacks are of a new kind: few failures, long sessions, by key."""
    frame = rows(n, seed)
    attack = (frame["verdict"] == "attack").to_numpy()
    rng = np.random.default_rng(seed + 1)
    if kind == "slow":
        frame.loc[attack, "failures"] = 1
        frame.loc[attack, "seconds"] = rng.gamma(30, 1, attack.sum())
        frame.loc[attack, "method"] = "key"
    return frame


@cache
def _base(declared_json=""):
    declared = detector(model={"trees": 20, "parameters": {"num_leaves": 7, "min_data_in_leaf": 5}}, split={"by": "rows"})
    return prepare(declared, check_data(declared, rows(1500), where="x"), None, with_test=True)


_CHAMPIONS = {}
"""Base -> itself, the digest and the files of the bundle that is trained on it: training again would give the same."""


def with_champion(store, base):
    """The digest of the base's bundle, which is in the store then."""
    if id(base) not in _CHAMPIONS:
        digest = add_to_store(train(base), store).digest
        files = {path.relative_to(store.root): path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
        _CHAMPIONS[id(base)] = base, digest, files
    _, digest, files = _CHAMPIONS[id(base)]
    for path, content in files.items():
        (store.root / path).parent.mkdir(parents=True, exist_ok=True)
        (store.root / path).write_bytes(content)
    return digest


class World:
    """One model. Time is a number that tests set."""

    def __init__(self, folder, base=None):
        self.base = base or _base()
        self.store = BundleStore(folder / "store")
        self.champion = self.store.read(with_champion(self.store, self.base))
        self.releases = MemoryReleases(self.store, self.champion.digest)
        self.acts = MemoryActs()
        self.acts.read = lambda: list(self.acts.acts)
        self.answers, self.labels, self.alarms = [], {}, []
        self.told = []
        self.at = Surroundings(
            model="logins", folder=folder / "retraining" / "logins", actor="ada", releases=self.releases, acts=self.acts,
            base=lambda declared: self.base, answers=self.read, labels=lambda: dict(self.labels), alarms=lambda: list(self.alarms),
            tell=lambda what, share: self.told.append(what), gate=self.gate,
        )  # fmt: skip

    def gate(self, bundle, policy):
        """The real checks of a bundle that ran well: to run it takes a process of its own, which the integration test has."""
        ran_well = ProbeReport(bundle.digest, golden_cases=3, latency_us=100.0, memory_mib=1.0)
        checks = (*probe_checks(bundle, policy.budget, probing=lambda bundle: ran_well), lineage_check(bundle))
        manifest = bundle.manifest
        return GateReport(manifest.name, manifest.version, bundle.digest, checks, frozenset(policy.required))

    def answer(self, frame, start_us, step_us=60_000_000):
        """The champion answers rows, one every minute."""
        bundle = self.store.read(self.releases.serving.bundle)
        score = row_scores(bundle, frame).astype(np.float64)
        point = bundle.manifest.operating_points["siem_alerting"]
        n, first = len(frame), sum(len(a) for a in self.answers)
        names = np.array([f"r{first + i}" for i in range(n)], dtype=object)
        text = {c: frame[c].to_numpy(dtype=object) for c in ("method",)}
        numbers = {c: frame[c].to_numpy(dtype=np.float64) for c in ("failures", "seconds")}
        self.answers.append(
            AnsweredRows(
                model="logins", receipts=names, rows=np.zeros(n, dtype=np.int64), events=names,
                times_us=start_us + step_us * np.arange(n), versions=np.full(n, bundle.manifest.version, dtype=object),
                revisions=np.full(n, self.releases.serving.revision, dtype=object), variants=np.full(n, "stable", dtype=object),
                columns=text | numbers, scores=score, degraded=np.zeros(n, dtype=bool),
                verdicts=np.where(score >= point.threshold, VERDICTS.index("alert"), VERDICTS.index("benign")).astype(np.int8),
            )
        )  # fmt: skip
        return names

    def read(self, since_us):
        found = self.answers[0]
        for more in self.answers[1:]:
            arrays = {
                f: np.concatenate([getattr(found, f), getattr(more, f)])
                for f in (
                    "receipts",
                    "rows",
                    "events",
                    "times_us",
                    "versions",
                    "revisions",
                    "variants",
                    "scores",
                    "verdicts",
                    "degraded",
                )
            }
            columns = {c: np.concatenate([found.columns[c], more.columns[c]]) for c in found.columns}
            found = replace(found, columns=columns, **arrays)
        return found.take(found.times_us >= since_us)

    def label(self, events, frame, given_us, *, family=None, selection="audit", inclusion=0.5):
        """An analyst says the truth of these events."""
        for event, verdict in zip(events, frame["verdict"].tolist(), strict=True):
            is_attack = verdict == "attack"
            self.labels[event] = Label(
                label_id=f"l-{event}", event=event, model="logins", verdict="attack" if is_attack else "benign", analyst="ada",
                time_us=given_us, family=family if is_attack else None, selection=selection, inclusion=inclusion,
            )  # fmt: skip

    def alarm(self, began_us, time_us, **changes):
        told = {
            "alarm_id": f"alarm-{len(self.alarms)}", "model": "logins", "revision": self.releases.serving.revision,
            "kind": "performance", "subject": "recall", "severity": "major", "statistic": "recall", "value": 0.4, "threshold": 0.9,
            "began_us": began_us, "time_us": time_us, "words": "recall fell from 0.95 to 0.40", "advice": "retrain",
        }  # fmt: skip
        self.alarms.append(Alarm(**(told | changes)))


def stale(folder, n=400, **changes):
    """A world in which attacks became of a new kind, analysts said so, and an alarm stands since Monday at noon."""
    world = World(folder, **changes)
    frame = drifted(n, seed=5)
    events = world.answer(frame, MONDAY_US)
    world.label(events, frame, MONDAY_US + 12 * HOUR_US, family="slow")
    world.alarm(MONDAY_US + 10 * HOUR_US, MONDAY_US + 12 * HOUR_US)
    return world


__all__ = ["DAY_US", "HOUR_US", "MONDAY_US", "World", "drifted", "pd", "policy", "stale"]
