"""The fairness gate: a candidate that raises the disparity between segments is worse, and nobody else is."""

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice

import numpy as np
import pytest
from pydantic import ValidationError

from operators.labs.segment_streams import SegmentedRollout, play_segments
from operators.rollout.evidence import Observation, ReplicaEvidence, Tally
from operators.rollout.judging.judge import JudgedLook, look
from operators.rollout.judging.ledger import MOST_BYTES
from operators.rollout.judging.segment_process import BETS, estimates, log_gains, log_no_worse, log_worse, project
from operators.rollout.spec import Analysis, ExperimentSpec, Gate, GateName
from operators.rollout.status import Verdict

pytestmark = pytest.mark.heavy

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
STABLE, CANDIDATE = "stable@sha256:aa", "candidate@sha256:bb"
FAIR = Analysis(gates=(Gate(name=GateName.FAIRNESS, margin=0.02),), min_requests=0)
ALL = "_all"
UNITS = ("unit=finance", "unit=it", "unit=sales")
SHARES = (0.1, 0.4, 0.4)
LIVE, DARK = {"candidate": 50.0}, {"candidate": 0.0}


def tally(rows: int, rates: tuple[float, ...], kind: str = "segment_{}") -> Tally:
    """Rows of three units and of nobody's (a tenth), with these alert rates each."""
    by = {unit: round(rows * share) for unit, share in zip(UNITS, SHARES, strict=True)}
    alerts = {unit: round(by[unit] * rate) for unit, rate in zip(UNITS, rates, strict=True)}
    by[ALL], alerts[ALL] = rows, sum(alerts.values()) + round(rows * 0.1 * 0.04)
    alerted = "mirrored_segment_alerts" if "mirrored" in kind else "segment_alerts"
    counted = {kind.format("rows"): by, alerted: alerts}
    if kind == "entity":
        counted = {"segment_entities": by, "segment_entity_alerts": alerts, "segment_rows": dict.fromkeys(by, rows)}
    return Tally(requests=rows, rows=rows, mirrored=rows, mirrored_rows=rows, **counted)  # type: ignore[arg-type]


def seen(i: int, stable: Tally, candidate: Tally, replicas: int = 1) -> Observation:
    each = [ReplicaEvidence(replica=f"r{r}", tallies={STABLE: stable, CANDIDATE: candidate}) for r in range(replicas)]
    return Observation(at=START + timedelta(seconds=10 * i), replicas=tuple(each), expected_replicas=replicas)


def judged(
    stable: tuple[float, ...],
    candidate: tuple[float, ...],
    *,
    looks: int = 12,
    analysis: Analysis = FAIR,
    split: dict[str, float] = LIVE,
    kind: str = "segment_{}",
    replicas: int = 1,
) -> JudgedLook:
    """The last of `judgements`."""
    given = judgements(stable, candidate, analysis=analysis, split=split, kind=kind, replicas=replicas)
    return next(islice(given, looks, None))


def judgements(
    stable: tuple[float, ...],
    candidate: tuple[float, ...],
    *,
    analysis: Analysis = FAIR,
    split: dict[str, float] = LIVE,
    kind: str = "segment_{}",
    replicas: int = 1,
) -> Iterator[JudgedLook]:
    """1,000 rows of each variant a look, the ledger going through JSON as it does in a resource's status. The first has none."""
    result = look({}, analysis, split, STABLE, CANDIDATE, seen(0, Tally(), Tally(), replicas), START)
    yield result
    for i in count(1):
        observation = seen(i, tally(1000 * i, stable, kind), tally(1000 * i, candidate, kind), replicas)
        kept = json.loads(json.dumps(result.ledger))
        result = look(kept, analysis, split, STABLE, CANDIDATE, observation, observation.at)
        yield result


SAME = (0.04, 0.04, 0.04)
TWICE = (0.10, 0.04, 0.04)


@pytest.mark.parametrize(
    ("stable", "candidate", "verdict", "words"),
    [
        pytest.param(
            SAME, (0.14, 0.04, 0.04), Verdict.WORSE, "unit=finance: 168 of 1,200", id="a unit that is alerted more is worse"
        ),
        pytest.param(
            (0.14, 0.04, 0.04), (0.0, 0.14, 0.14), Verdict.WORSE, "unit=finance", id="and one that is alerted much less"
        ),
        pytest.param(SAME, SAME, Verdict.NO_WORSE, "a gap of", marks=pytest.mark.heavy, id="the same rates are no worse"),
        pytest.param(
            SAME,
            (0.10, 0.10, 0.10),
            Verdict.UNDECIDED,
            "",
            marks=pytest.mark.heavy,
            id="alerting everybody more is another gate's matter",
        ),
        pytest.param(
            (0.14, 0.04, 0.04),
            SAME,
            Verdict.NO_WORSE,
            "a gap of",
            marks=pytest.mark.heavy,
            id="removing a disparity is no fault",
        ),
        pytest.param(
            (0.14, 0.04, 0.04),
            (0.14, 0.04, 0.04),
            Verdict.NO_WORSE,
            "",
            marks=pytest.mark.heavy,
            id="one that stable has too is not the candidate's",
        ),
    ],
)
def test_verdict(stable: tuple[float, ...], candidate: tuple[float, ...], verdict: Verdict, words: str) -> None:
    result = judged(stable, candidate, looks=60 if verdict is not Verdict.WORSE else 12)
    if verdict is Verdict.UNDECIDED:
        assert result.assessment.verdict is not Verdict.WORSE, result.assessment.reason
    else:
        assert result.assessment.verdict is verdict, result.assessment
    assert words in result.assessment.reason


def test_mirrored_rows_and_entities_are_judged_too() -> None:
    worse = (0.14, 0.04, 0.04)
    dark = judged(SAME, worse, split=DARK, kind="mirrored_segment_{}")
    assert dark.assessment.verdict is not Verdict.WORSE, "without a segment told among the rows nothing is looked at"
    by_entity = Analysis(gates=(Gate(name=GateName.FAIRNESS, margin=0.02, unit="entity"),), min_requests=0)
    one, three = (judged(SAME, worse, analysis=by_entity, kind="entity", replicas=r) for r in (1, 3))
    assert one.assessment.verdict is Verdict.WORSE
    assert "entities alert" in one.assessment.reason
    assert three.assessment.gates[0].e_worse <= one.assessment.gates[0].e_worse * 1.1, (
        "copies of one entity are no more evidence"
    )


def test_a_mirrored_disparity_aborts_a_dark_candidate() -> None:
    result = look({}, FAIR, DARK, STABLE, CANDIDATE, seen(0, Tally(), Tally()), START)
    for i in range(1, 13):
        zero = dict.fromkeys((*UNITS, ALL), 0)
        both = [
            tally(1000 * i, rates, "mirrored_segment_{}").model_copy(update={"segment_rows": zero})
            for rates in (SAME, (0.14, 0.04, 0.04))
        ]
        observation = seen(i, *both)
        result = look(json.loads(json.dumps(result.ledger)), FAIR, DARK, STABLE, CANDIDATE, observation, observation.at)
    assert result.assessment.verdict is Verdict.WORSE
    assert "unit=finance" in result.assessment.reason


def test_only_the_column_that_the_gate_names_is_looked_at_and_kept() -> None:
    other = Analysis(gates=(Gate(name=GateName.FAIRNESS, margin=0.02, by="site"),), min_requests=0)
    result = judged(SAME, (0.14, 0.04, 0.04), analysis=other)
    assert result.assessment.verdict is Verdict.UNDECIDED
    assert "count no rows by segment yet" in result.assessment.reason
    errors = Analysis(gates=(Gate(name=GateName.ERRORS, margin=0.02),))
    assert "unit=finance" not in json.dumps(judged(SAME, SAME, analysis=errors, looks=2).ledger), (
        "kept by no ledger that needs it not"
    )


def test_looking_twice_changes_nothing() -> None:
    result = judged(SAME, TWICE, looks=5)
    observation = seen(5, tally(5000, SAME), tally(5000, TWICE))
    again = look(json.loads(json.dumps(result.ledger)), FAIR, LIVE, STABLE, CANDIDATE, observation, observation.at)
    assert again.ledger == result.ledger
    assert again.assessment == result.assessment


def test_the_estimate_is_of_the_right_size() -> None:
    given = judgements(SAME, SAME)
    early = next(islice(given, 5, None))
    assert early.assessment.verdict is Verdict.UNDECIDED
    assert early.assessment.more is not None
    done = next(n for n in range(6, 40) if next(given).assessment.verdict is Verdict.NO_WORSE)
    assert 0.3 <= early.assessment.more / (1000 * (done - 5)) <= 3


def test_the_ledger_keeps_its_bounds_with_as_many_segments_as_a_replica_counts() -> None:
    names = [f"unit={'x' * 40}{i}" for i in range(24)]
    result = look({}, FAIR, LIVE, STABLE, CANDIDATE, seen(0, Tally(), Tally(), 6), START)
    rng = np.random.default_rng(1)
    total = np.zeros((2, 2, 25), dtype=int)
    for i in range(1, 6):
        new = rng.integers(100, 200, (2, 24))
        total[:, 0, :24] += new
        total[:, 1, :24] += rng.binomial(new, 0.05)
        total[:, :, 24] = total[:, :, :24].sum(axis=2)
        both = [
            Tally(
                requests=int(t[0, 24]), rows=int(t[0, 24]),
                segment_rows=dict(zip([*names, ALL], t[0].tolist(), strict=True)),
                segment_alerts=dict(zip([*names, ALL], t[1].tolist(), strict=True)),
            )
            for t in total
        ]  # fmt: skip
        observation = seen(i, *both, replicas=6)
        result = look(result.ledger, FAIR, LIVE, STABLE, CANDIDATE, observation, observation.at)
    assert len(json.dumps(result.ledger)) <= MOST_BYTES
    assert result.assessment.gates[0].stable[0] > 0
    assert all(not tally.segment_rows for tally in result.totals.values()), "a status has no room for them beside the ledger"


def test_the_projection_is_the_nearest_point_of_the_claim() -> None:
    from scipy.optimize import minimize

    rng = np.random.default_rng(3)
    for _ in range(5):
        n, t = rng.uniform(5, 200, 4), rng.uniform(0.02, 0.3, 4)
        signs = np.array([1.0, -1.0, -1.0, 1.0])
        offset = float((signs * t).sum() - 0.05)
        ours = project(n[None, :, None], t[None, :, None], signs[None, :, None], np.array([[offset]]))[0, :, 0]

        def distance(u, n=n, t=t):
            return float((n * (t * np.log(t / u) + (1 - t) * np.log((1 - t) / (1 - u)))).sum())

        claim = {"type": "eq", "fun": lambda u, offset=offset, signs=signs: (signs * u).sum() - offset}
        best = minimize(distance, np.clip(t, 0.01, 0.9), bounds=[(1e-6, 1 - 1e-6)] * 4, constraints=[claim], tol=1e-12)
        assert (signs * ours).sum() <= offset + 1e-9
        assert distance(ours) == pytest.approx(best.fun, rel=1e-3, abs=1e-6)


def test_expectation_of_a_look_is_at_most_one_within_the_null() -> None:
    """Exactly, over all outcomes of small streams: for rates on the border of every claim, whatever the bets have learnt."""
    n = np.array([6.0, 5.0, 5.0, 5.0])
    grid = np.array(np.meshgrid(*[np.arange(int(c) + 1) for c in n], indexing="ij")).reshape(4, -1).astype(float)
    rng = np.random.default_rng(4)
    for rates, margin in (((0.1, 0.1, 0.1, 0.1), 0.0), ((0.05, 0.2, 0.1, 0.27), 0.02), ((0.2, 0.2, 0.3, 0.32), 0.02)):
        past_n = rng.integers(5, 60, 4).astype(float)
        past_k = rng.binomial(past_n.astype(int), 0.25).astype(float)
        shape = (4, grid.shape[1])
        seen_n, seen_k = (np.broadcast_to(past[:, None], shape) for past in (past_n, past_k))
        gains = log_gains(np.broadcast_to(n[:, None], shape), grid, seen_n, seen_k, margin)
        p = np.array(rates)[:, None]
        choose = np.prod([[math.comb(int(c), int(k)) for k in row] for c, row in zip(n, grid, strict=True)], axis=0)
        chance = choose * np.prod(p**grid * (1 - p) ** (n[:, None] - grid), axis=0)
        expected = (np.exp(gains) * chance).sum(axis=1)
        gap_a, gap_b = rates[1] - rates[0], rates[3] - rates[2]
        true = [gap_b - gap_a <= margin, gap_b <= margin, gap_a - gap_b <= margin, -gap_b <= margin]
        places = [3 * claim + bet for claim, holds in enumerate(true) if holds for bet in range(3)]
        assert (expected[places] <= 1 + 1e-9).all()


def test_estimates_are_drawn_to_the_rate_of_all() -> None:
    got = estimates(np.array([[1000.0], [0.0], [1000.0], [10.0]]), np.array([[50.0], [0.0], [50.0], [10.0]]))
    assert got[1, 0] == pytest.approx(0.0537, abs=0.002)
    assert 0.5 < got[3, 0] < 0.6


def test_nothing_seen_is_one() -> None:
    assert log_worse(np.zeros((BETS, 2)), is_two_sided=True) == pytest.approx([0, 0])
    assert log_no_worse(np.zeros((BETS, 2)), is_two_sided=True) == pytest.approx([0, 0])


def test_by_is_fairness_own_and_fairness_is_no_metric() -> None:
    with pytest.raises(ValidationError, match="only the gate fairness compares segments"):
        Gate(name=GateName.ERRORS, by="unit")
    variants = [{"name": "a", "weight": 50}, {"name": "b", "weight": 50}]
    with pytest.raises(ValidationError, match="make it a gate"):
        ExperimentSpec.model_validate({"variants": variants, "metric": "fairness"})
    three = [{"name": "a", "weight": 50}, {"name": "b", "weight": 30}, {"name": "c", "weight": 20}]
    with pytest.raises(ValidationError, match="compare two at a time"):
        ExperimentSpec.model_validate({"variants": three, "analysis": {"gates": [{"name": "fairness"}]}})


SMALL = {"weight": 0.5, "every": 400, "until": 20_000}


def test_simulated_rollouts() -> None:
    fair = play_segments(SegmentedRollout(**SMALL), runs=20, seed=5)  # type: ignore[arg-type]
    unfair = play_segments(SegmentedRollout(candidate=(0.12, 0.04, 0.04, 0.04, 0.04), **SMALL), runs=20, seed=6)  # type: ignore[arg-type]
    assert (fair.worse > 0).sum() <= 2
    assert (unfair.worse > 0).sum() >= 17
    assert (unfair.segment[unfair.worse > 0] == 0).all(), "and it is the unit that is named"


@pytest.mark.soak
@pytest.mark.parametrize(
    ("rollout", "most", "least"),
    [
        pytest.param(SegmentedRollout(), 0.05, None, id="no disparity"),
        pytest.param(SegmentedRollout(candidate=(0.08,) * 5), 0.05, None, id="twice the alerts everywhere"),
        pytest.param(SegmentedRollout((0.05, 0.35, 0.3, 0.2, 0.1), (0.08, *(0.04,) * 4), (0.08, *(0.04,) * 4)), 0.05, None,
                     id="a disparity that stable has too"),
        pytest.param(SegmentedRollout(candidate=(0.06, *(0.04,) * 4), margin=0.02), 0.05, None, id="on the margin"),
        pytest.param(SegmentedRollout(candidate=(0.08, *(0.04,) * 4), weight=0.5), None, 0.8, id="twice in a unit of 5 %, weight 50"),
        pytest.param(SegmentedRollout(candidate=(0.12, *(0.04,) * 4)), None, 0.9, id="three times in a unit of 5 %, weight 10"),
    ],
)  # fmt: skip
def test_two_hundred_rollouts(rollout: SegmentedRollout, most: float | None, least: float | None) -> None:
    got = play_segments(rollout, runs=200, seed=7)
    share = float((got.worse > 0).mean())
    middle = np.median(np.where(got.worse > 0, got.worse, np.inf))
    fine = float((got.no_worse > 0).mean())
    print(f"no worse in {fine:.1%}; worse in {share:.1%} of 200 rollouts, median {middle:,.0f} requests")
    assert most is None or share <= most
    assert least is None or fine <= 0.05, "and what is worse than the margin is called no worse in few"
    assert least is None or share >= least
