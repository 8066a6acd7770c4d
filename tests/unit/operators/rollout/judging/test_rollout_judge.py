"""What one look says of counters, and when it refuses to say anything."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from operators.rollout.evidence import Observation, ReplicaEvidence, Tally
from operators.rollout.judging.judge import JudgedLook, look
from operators.rollout.spec import Analysis, Gate, GateName
from operators.rollout.status import Assessment, Verdict

pytestmark = pytest.mark.heavy

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
STABLE, CANDIDATE = "stable@sha256:aa", "candidate@sha256:bb"
ERRORS = Analysis(gates=(Gate(name=GateName.ERRORS, margin=0.01),))
LIVE = {"candidate": 10.0}
DARK = {"candidate": 0.0}


def seen(seconds: float, *replicas: ReplicaEvidence, expected: int | None = None, problem: str | None = None) -> Observation:
    at = START + timedelta(seconds=seconds)
    return Observation(
        at=at, replicas=replicas, expected_replicas=len(replicas) if expected is None else expected, problem=problem
    )


def replica(stable: Tally, candidate: Tally, name: str = "r1") -> ReplicaEvidence:
    return ReplicaEvidence(replica=name, tallies={STABLE: stable, CANDIDATE: candidate})


def requests(n: int, errors: int = 0, **more: object) -> Tally:
    return Tally(requests=n, rows=n, bad={GateName.ERRORS: errors}, **more)  # type: ignore[arg-type]


def judged(
    *observations: Observation, analysis: Analysis = ERRORS, split: dict[str, float] = LIVE, late_s: float = 0
) -> JudgedLook:
    """Look at each in turn, the ledger going through JSON as it does in a resource's status."""
    result = look({}, analysis, split, STABLE, CANDIDATE, seen(0, replica(Tally(), Tally())), START)
    for observation in observations:
        kept = json.loads(json.dumps(result.ledger))
        result = look(kept, analysis, split, STABLE, CANDIDATE, observation, observation.at + timedelta(seconds=late_s))
    return result


def ramp(steps: int, stable_bad: int, candidate_bad: int) -> list[Observation]:
    """Looks of 900 and 100 requests each."""
    return [
        seen(10 * i, replica(requests(900 * i, stable_bad * i), requests(100 * i, candidate_bad * i)))
        for i in range(1, steps + 1)
    ]


@pytest.mark.parametrize(
    ("observations", "verdict", "words"),
    [
        pytest.param(ramp(20, 9, 12), Verdict.WORSE, "240 of 2,000", id="twelve times the errors is worse"),
        pytest.param(ramp(40, 9, 1), Verdict.NO_WORSE, "40 of 4,000", id="equal within the margin is no worse"),
        pytest.param(ramp(60, 90, 1), Verdict.BETTER, "60 of 6,000", id="a tenth of the errors is better"),
        pytest.param(
            ramp(2, 9, 1),
            Verdict.UNDECIDED,
            "more candidate requests",
            id="little evidence is undecided, and says how much is missing",
        ),
        pytest.param(
            [seen(10, replica(requests(900), requests(0)))],
            Verdict.UNDECIDED,
            "no requests of the candidate",
            id="no request, no verdict",
        ),
        pytest.param(
            [seen(10, replica(requests(900), requests(100)), expected=2)],
            Verdict.INVALID,
            "1 of 2 replicas",
            id="a partial look is invalid",
        ),
        pytest.param(
            [seen(10, problem="connection refused")], Verdict.INVALID, "connection refused", id="a look that failed is invalid"
        ),
        pytest.param(
            [*ramp(20, 9, 12), seen(300, replica(requests(17000, 180), requests(2000, 240)))],
            Verdict.INVALID,
            "replica r1: requests of stable@sha256:aa fell from 18000 to 17000",
            id="a counter that falls blames nobody",
        ),
    ],
)
def test_verdict(observations: list[Observation], verdict: Verdict, words: str) -> None:
    result = judged(*observations)
    assert result.assessment.verdict is verdict, result.assessment
    assert words in result.assessment.reason


def test_old_evidence_is_invalid_even_if_it_says_worse() -> None:
    result = judged(*ramp(20, 9, 12), late_s=61)
    assert result.assessment.verdict is Verdict.INVALID
    assert "61 s old" in result.assessment.reason


def test_looking_twice_changes_nothing() -> None:
    once, twice = judged(*ramp(5, 9, 3)), judged(*[o for o in ramp(5, 9, 3) for _ in range(2)])
    assert once.ledger == twice.ledger
    assert once.assessment == twice.assessment


def test_a_dark_candidate_is_judged_by_its_mirror() -> None:
    looks = [
        seen(10 * i, replica(requests(1000 * i, 10 * i), Tally(mirrored=1000 * i, mirrored_bad={GateName.ERRORS: 200 * i})))
        for i in range(1, 11)
    ]
    result = judged(*looks, split=DARK)
    assert result.assessment.verdict is Verdict.WORSE
    assert "mirrored requests failed" in result.assessment.reason


def test_pairs_of_a_mirror_are_judged_look_after_look() -> None:
    flood = Analysis(gates=(Gate(name=GateName.ALERT_RATE, margin=0.02),))
    looks = [
        seen(
            10 * i,
            replica(
                requests(1000 * i),
                Tally(mirrored=100 * i, mirrored_rows=100 * i, pairs={"benign>benign": 80 * i, "benign>alert": 20 * i}),
            ),
        )
        for i in range(1, 6)
    ]
    assert judged(*looks, analysis=flood, split=DARK).assessment.verdict is Verdict.WORSE


def mirrored(n: int, errors: int) -> Tally:
    return Tally(mirrored=n, mirrored_rows=n, mirrored_bad={GateName.ERRORS: errors})


GATES = {name: Gate(name=name, margin=0.02) for name in GateName}


@pytest.mark.parametrize(
    ("analysis", "looks", "split", "verdict", "words"),
    [
        pytest.param(Analysis(gates=(GATES[GateName.RECALL],)), ramp(3, 9, 1), LIVE, Verdict.UNDECIDED, "no unbiased labels",
                     id="recall without labels is undecided"),
        pytest.param(Analysis(gates=(GATES[GateName.FLIPS],)), ramp(3, 9, 1), LIVE, Verdict.UNDECIDED, "need a mirror step",
                     id="flips without a mirror are undecided"),
        pytest.param(Analysis(gates=(Gate(name=GateName.ERRORS, unit="entity"),)), ramp(3, 9, 1), DARK, Verdict.UNDECIDED,
                     "judged on live requests", id="entities of a dark candidate are undecided"),
        pytest.param(Analysis(gates=ERRORS.gates, min_requests=5000), ramp(40, 9, 1), LIVE, Verdict.UNDECIDED,
                     "needs 1000 more candidate requests", id="no worse waits for minRequests"),
        pytest.param(Analysis(gates=ERRORS.gates, min_requests=5000), ramp(20, 9, 12), LIVE, Verdict.WORSE, "240 of 2,000",
                     id="worse waits for nothing"),
        pytest.param(Analysis(gates=(*ERRORS.gates, GATES[GateName.LATENCY]), combine="average"), ramp(20, 9, 12), LIVE,
                     Verdict.WORSE, "errors: worse", id="averaged e-values name the gate that is highest"),
        pytest.param(Analysis(gates=(*ERRORS.gates, GATES[GateName.RECALL])), ramp(40, 9, 1), LIVE, Verdict.UNDECIDED, "recall",
                     id="one gate that waits makes all wait"),
        pytest.param(Analysis(gates=(Gate(name=GateName.ERRORS),)), ramp(40, 9, 1), LIVE, Verdict.UNDECIDED, "give the gate a margin",
                     id="margin 0 and equal rates: said how to get on"),
    ],
)  # fmt: skip
def test_gates(analysis: Analysis, looks: list[Observation], split: dict[str, float], verdict: Verdict, words: str) -> None:
    result = judged(*looks, analysis=analysis, split=split)
    assert result.assessment.verdict is verdict, result.assessment
    assert words in result.assessment.reason


def test_what_the_mirror_passed_is_not_passed_for_live_traffic() -> None:
    dark = [seen(10 * i, replica(requests(1000 * i, 10 * i), mirrored(1000 * i, 10 * i))) for i in range(1, 11)]
    passed = judged(*dark, split=DARK)
    assert passed.assessment.verdict is Verdict.NO_WORSE
    both = mirrored(10_000, 100).model_copy(update={"requests": 100, "rows": 100})
    live = seen(200, replica(requests(10_900, 109), both))
    after = look(passed.ledger, ERRORS, LIVE, STABLE, CANDIDATE, live, live.at)
    assert after.assessment.verdict is Verdict.UNDECIDED


def test_a_mirror_that_is_worse_aborts_a_live_candidate_too() -> None:
    looks = [
        seen(10 * i, replica(requests(900 * i, 9 * i), Tally(requests=10 * i, rows=10 * i, mirrored=900 * i,
             mirrored_bad={GateName.ERRORS: 200 * i}))) for i in range(1, 11)
    ]  # fmt: skip
    assert judged(*looks).assessment.verdict is Verdict.WORSE


def test_a_broken_split_is_invalid_for_good() -> None:
    def entities(i: int, candidate: int) -> Observation:
        return seen(10 * i, replica(requests(900 * i, entities=90 * i), requests(100 * i, entities=candidate * i)))

    broken = judged(*[entities(i, 60) for i in range(1, 30)])
    assert broken.assessment.verdict is Verdict.INVALID
    assert "sample-ratio mismatch" in broken.assessment.reason
    later = entities(40, 60)
    assert look(broken.ledger, ERRORS, LIVE, STABLE, CANDIDATE, later, later.at).assessment.verdict is Verdict.INVALID
    assert judged(*[entities(i, 10) for i in range(1, 30)]).assessment.verdict is not Verdict.INVALID


def test_two_candidates_share_one_ledger() -> None:
    other, ledger, verdicts = "b@sha256:cc", {}, {}
    for i in range(21):
        tallies = {STABLE: requests(900 * i, 9 * i), CANDIDATE: requests(100 * i, 12 * i), other: requests(100 * i, i)}
        observation = seen(10 * i, ReplicaEvidence(replica="r1", tallies=tallies))
        for candidate in (CANDIDATE, other):
            found = look(ledger, ERRORS, {"candidate": 9.0, "b": 9.0}, STABLE, candidate, observation, observation.at)
            ledger, verdicts[candidate] = found.ledger, found.assessment
    assert verdicts[CANDIDATE].verdict is Verdict.WORSE
    assert verdicts[other].verdict is not Verdict.WORSE
    assert verdicts[other].gates[0].candidate == (2000, 20)


def test_a_variant_with_two_revisions_in_one_look_counts_the_entities_of_both() -> None:
    """Stable was promoted between two looks: what it met under its old revision was split by the same weights."""
    far = timedelta(minutes=5).total_seconds()

    def entities(**tallies: int) -> ReplicaEvidence:
        return ReplicaEvidence(replica="r1", tallies={k.replace("_at_", "@"): Tally(entities=n) for k, n in tallies.items()})

    first, settled = seen(0, entities(stable_at_old=0)), seen(far, entities(stable_at_old=0))
    both = judged(first, settled, seen(2 * far, entities(stable_at_old=900, stable_at_new=50, candidate_at_c=50)))
    assert both.ledger["split"]["counts"]["r1"] == {"stable": 950, "candidate": 50}


def test_why_nothing_could_be_measured_has_room_in_the_status_whatever_its_length() -> None:
    found = judged(seen(10, problem="pod 10.0.0.1 does not answer; " * 500)).assessment
    assert found.verdict is Verdict.INVALID
    assert Assessment.model_validate_json(found.model_dump_json(by_alias=True)) == found
