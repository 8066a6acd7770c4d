"""Revisions, replicas and a judge that says what a test wants, for tests of the rollout core. The judge keeps no statistics: only
operators.rollout.judging.judge does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from operators.rollout.analysis import Statistics
from operators.rollout.evidence import Observation, ReplicaEvidence, Tally, key
from operators.rollout.experiments.report import Intervals
from operators.rollout.facts import Calibration, Desired, Facts, Loading
from operators.rollout.judging.judge import JudgedLook
from operators.rollout.spec import AlertBudget, Analysis, Revision, RolloutSpec
from operators.rollout.status import Assessment, Phase, RolloutStatus, VerbRequest, Verdict

T0 = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def revision(name: str, point: str | None = "siem_alerting") -> Revision:
    """Revisions `a`, `b`, ...: one bundle each; version by the letter."""
    return Revision(version=str(ord(name[0]) - 96), bundle="sha256:" + name[0].encode().hex() * 32, operating_point=point)


A, B, C = revision("a"), revision("b"), revision("c")


def observed(
    seconds: float, *loaded: Revision, replicas: int = 2, failed: Mapping[str, str] | None = None, expected: int | None = None
) -> Observation:
    """`replicas` replicas, each with the given revisions loaded."""
    each = tuple(
        ReplicaEvidence(replica=f"r{i}", loaded=tuple(r.digest for r in loaded), failed=failed or {}) for i in range(replicas)
    )
    return Observation(at=at(seconds), replicas=each, expected_replicas=replicas if expected is None else expected)


@dataclass
class ScriptedJudge:
    """Says `verdict` of every candidate (or what `by_candidate` says of its tally key), on `requests` live and mirrored requests."""

    verdict: Verdict = Verdict.NO_WORSE
    requests: int = 0
    mirrored: int = 0
    by_candidate: dict[str, Verdict] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    splits: list[Mapping[str, float]] = field(default_factory=list)

    def __call__(
        self,
        ledger: Mapping[str, Any],
        analysis: Analysis,
        split: Mapping[str, float],
        baseline: str,
        candidate: str,
        observation: Observation,
        now: datetime,
    ) -> JudgedLook:
        self.splits.append(split)
        verdict = self.by_candidate.get(candidate, self.verdict)
        tally = Tally(requests=self.requests, rows=self.requests, mirrored=self.mirrored, mirrored_rows=self.mirrored)
        assessment = Assessment(verdict=verdict, reason=f"scripted {verdict}", requests=self.requests + self.mirrored)
        return JudgedLook({"looks": ledger.get("looks", 0) + 1}, assessment, {candidate: tally, **self.tallies})


def tools(judge: ScriptedJudge, calibration: Calibration | None = None) -> Statistics:
    """The judge, and intervals that are the rate give or take 0.01."""

    def proportion(n: int, k: int, alpha: float) -> tuple[float, float]:
        return k / n - 0.01, k / n + 0.01

    def difference(a: tuple[int, int], b: tuple[int, int], alpha: float) -> tuple[float, float]:
        gap = b[1] / b[0] - a[1] / a[0]
        return gap - 0.02, gap + 0.02

    def calibrate(budget: AlertBudget, tally: Tally) -> Calibration:
        return calibration or Calibration(None, "nothing was scripted")

    return Statistics(judge=judge, intervals=Intervals(proportion, difference), calibrate=calibrate)


POLICY = RolloutSpec.model_validate(
    {
        "steps": [
            {"mirror": {"percent": 50}},
            {"analysis": {}},
            {"setWeight": 5},
            {"pause": {"duration": "60s"}},
            {"setReplicas": {"replicas": 3}},
            {"analysis": {"minRequests": 40, "maxDuration": "10m"}},
            {"approval": {"approvers": 2, "groups": ["sre"]}},
            {"pause": {}},
            {"setWeight": 50},
        ],
        "analysis": {"minRequests": 100},
        "progressDeadline": "1h",
    }
)
"""Every kind of step; `STEP` gives their places."""

STEP = {
    "mirror": 0,
    "analysis of the mirror": 1,
    "setWeight": 2,
    "timed pause": 3,
    "setReplicas": 4,
    "analysis": 5,
    "approval": 6,
    "pause": 7,
    "last setWeight": 8,
    "over": 9,
}


def under_way(step: str = "mirror", policy: RolloutSpec = POLICY, **more: Any) -> RolloutStatus:
    """A rollout from A to B, started by grace, that is at a step since T0, with the weight and mirror of the steps before."""
    index = STEP[step]
    before = policy.steps[:index]
    found = RolloutStatus(
        phase=Phase.PROGRESSING,
        stable=A,
        candidate=B,
        seen=B.digest,
        policy=policy,
        step_index=index,
        weight=max((s.set_weight for s in before if s.set_weight), default=0.0),
        mirror=max((s.mirror.percent for s in before if s.mirror), default=0.0),
        started=at(-3600),
        step_started=T0,
        last_progress=T0,
        started_by="grace",
        is_ready=True,
    )
    return found.model_copy(update=more)


LOADED = Loading(ready=2, expected=2)
HALF = Loading(ready=1, expected=2)


def facts(**more: Any) -> Facts:
    """The spec asks for B, which every replica has loaded; 1000 live and 1000 mirrored requests were seen."""
    tally = Tally(requests=1000, rows=1000, mirrored=1000, mirrored_rows=1000)
    given = {"desired": Desired(revision=B, rollout=POLICY), "candidate": LOADED, "tally": tally, "replicas": 3, **more}
    return Facts(**given)


def said(
    verb: str, by: str = "ada", *, id: str | None = None, why: str = "because", seconds: float = 0, **args: str
) -> VerbRequest:
    return VerbRequest(id=id or f"{verb}-{by}", verb=verb, by=by, why=why, at=at(seconds), args=args)  # type: ignore[arg-type]


__all__ = [
    "HALF",
    "LOADED",
    "POLICY",
    "STEP",
    "T0",
    "A",
    "B",
    "C",
    "ScriptedJudge",
    "at",
    "facts",
    "key",
    "observed",
    "revision",
    "said",
    "tools",
    "under_way",
]
