"""A/B experiments from look to look: loading, split, guards, report, end."""

from dataclasses import replace
from typing import Any

import pytest

from lifecycle.governance.approvals.recorded_state import GovernanceView, RecordedState
from operators.rollout.advance import Advance, advance
from operators.rollout.analysis import standard_statistics
from operators.rollout.decide import decide
from operators.rollout.evidence import Tally
from operators.rollout.experiments.report import Intervals, report
from operators.rollout.experiments.variants import tally_key
from operators.rollout.facts import Desired
from operators.rollout.judging.gates import live
from operators.rollout.moves import Conclude
from operators.rollout.spec import Analysis, ExperimentSpec, ExperimentVariant, Gate, GateName, RolloutSpec
from operators.rollout.status import Assessment, Phase, RolloutStatus, Verdict
from tests.fakes.operator.rollouts import A, B, C, ScriptedJudge, at, facts, key, observed, said, tools

HEALTHY = RolloutStatus(phase=Phase.HEALTHY, stable=A, seen=A.digest)
SPEC = ExperimentSpec.model_validate(
    {
        "variants": [
            {"name": "control", "weight": 40},
            {"name": "b", "weight": 30, "revision": B.model_dump(by_alias=True)},
            {"name": "c", "weight": 30, "revision": C.model_dump(by_alias=True)},
        ],
        "duration": "1h",
    }
)
DESIRED = Desired(revision=A, experiment=SPEC, by="grace")
STABLE, KB, KC = key("stable", A.digest), key("b", B.digest), key("c", C.digest)


def look(
    status: RolloutStatus, seconds: float, judge: ScriptedJudge | None = None, *, desired: Desired = DESIRED, **more: Any
) -> Advance:
    seen = more.pop("observation", observed(seconds, A, B, C))
    return advance(desired, status, seen, more.pop("requests", ()), at(seconds), tools(judge or ScriptedJudge()))


def running() -> RolloutStatus:
    status = look(look(HEALTHY, -5).status, 0).status
    assert status.split_since == at(0)
    return status


def weights(outcome: Advance) -> dict[str, float]:
    assert outcome.target is not None
    return {v.name: v.weight for v in outcome.target.variants}


def rows(n: int, k: int) -> Tally:
    return Tally(requests=n, rows=n, bad={GateName.ALERT_RATE: k})


def test_variants_are_loaded_before_they_have_traffic() -> None:
    begun = look(HEALTHY, 0, observation=observed(0, A, B))
    assert begun.status.phase is Phase.EXPERIMENT
    assert weights(begun) == {"b": 0, "c": 0}
    assert begun.status.waiting_for == "loading"
    loading = look(begun.status, 5, observation=observed(5, A, B))
    assert weights(loading) == {"b": 0, "c": 0}
    assert loading.status.waiting_for == "loading: 0 of 2 replicas have it loaded"
    assert weights(look(begun.status, 5)) == {"b": 30, "c": 30}


def test_where_rollouts_need_approvals_an_experiment_begins_with_revisions_that_were_stable_once() -> None:
    asks = RolloutSpec.model_validate({"steps": [{"approval": {}}, {"setWeight": 100}]})
    unknown = look(HEALTHY, 0, desired=replace(DESIRED, rollout=asks))
    assert (unknown.status.phase, weights(unknown)) == (Phase.HEALTHY, {})
    assert "never approved: b, c" in unknown.status.waiting_for
    known = RecordedState(settled=frozenset({A.digest, B.digest, C.digest}), is_new=False)
    begun = look(HEALTHY, 0, desired=replace(DESIRED, rollout=asks, governance=GovernanceView(recorded=known)))
    assert begun.status.phase is Phase.EXPERIMENT


def test_a_guard_takes_a_worse_variant_s_traffic_to_the_baseline_and_moves_nobody_else() -> None:
    found = look(running(), 5, ScriptedJudge(by_candidate={KB: Verdict.WORSE}))
    assert weights(found) == {"b": 30, "c": 30, "b-gone": 0}, "every variant keeps its entities"
    assert found.target is not None
    assert [v.revision for v in found.target.variants if v.name == "b"] == [A], "b's are answered by the baseline's revision"
    assert list(found.status.stopped) == ["b"]
    assert found.acts_first
    again = look(found.status, 10, ScriptedJudge(by_candidate={KB: Verdict.WORSE}))
    assert not again.acts_first, "once"


def test_when_every_variant_is_worse_it_ends() -> None:
    judge = ScriptedJudge(verdict=Verdict.WORSE)
    found = look(running(), 5, judge)
    assert (found.status.phase, found.status.experiment) == (Phase.HEALTHY, None)
    assert found.status.report is not None
    assert found.status.report.is_final


@pytest.mark.parametrize("verdict", [Verdict.INVALID, Verdict.UNDECIDED, Verdict.BETTER])
def test_only_worse_takes_traffic(verdict: Verdict) -> None:
    assert look(running(), 5, ScriptedJudge(verdict=verdict)).status.stopped == {}


@pytest.mark.parametrize(("seconds", "phase"), [(3599, Phase.EXPERIMENT), (3600, Phase.HEALTHY)])
def test_it_ends_when_its_time_is_over(seconds: int, phase: Phase) -> None:
    found = look(running(), seconds)
    assert found.status.phase is phase
    if phase is Phase.HEALTHY:
        assert sum(weights(found).values()) == 0
        assert look(found.status, seconds + 5).status.phase is Phase.HEALTHY, "and does not begin again by itself"


def test_it_ends_when_somebody_concludes_it() -> None:
    found = look(running(), 5, requests=(said("conclude", why="enough"),))
    assert (found.status.phase, found.status.handled) == (Phase.HEALTHY, ("conclude-ada",))
    assert (found.status.history[0].by, found.status.history[0].reason) == ("ada", "enough")


def test_another_verb_is_refused_and_does_not_end_it() -> None:
    found = look(running(), 5, requests=(said("abort"),))
    assert (found.status.phase, found.status.handled) == (Phase.EXPERIMENT, ("abort-ada",))
    assert look(found.status, 10, requests=(said("conclude", id="abort-ada"),)).status.phase is Phase.EXPERIMENT, (
        "handled is done"
    )


@pytest.mark.parametrize("wanted", [None, SPEC.model_copy(update={"goal": "higher"})], ids=["none", "another"])
def test_it_ends_when_the_spec_asks_for_none_or_another(wanted: ExperimentSpec | None) -> None:
    found = look(running(), 5, desired=Desired(revision=A, experiment=wanted))
    assert found.status.history[0].outcome == "concluded"
    assert found.status.experiment == wanted, "another begins at once"


def test_the_same_experiment_may_be_asked_for_again_after_none() -> None:
    ended = look(running(), 5, desired=Desired(revision=A)).status
    none = look(ended, 10, desired=Desired(revision=A)).status
    assert none.experiment_seen is None
    assert look(none, 15).status.phase is Phase.EXPERIMENT


def test_it_ends_when_a_variant_cannot_be_loaded() -> None:
    begun = look(HEALTHY, 0, observation=observed(0, A, B)).status
    found = look(begun, 5, observation=observed(5, A, B, failed={C.digest: "no memory"}))
    assert found.status.phase is Phase.HEALTHY
    assert "no memory" in found.status.history[0].reason


def test_a_new_revision_waits_for_its_end() -> None:
    found = look(running(), 5, desired=Desired(revision=B, experiment=SPEC))
    assert found.status.phase is Phase.EXPERIMENT
    assert "version 2 waits" in found.status.waiting_for
    for settled in (A, None):
        assert "waits" not in look(running(), 5, desired=Desired(revision=settled, experiment=SPEC)).status.waiting_for
    ended = look(found.status, 3600, desired=Desired(revision=B, experiment=SPEC))
    assert (ended.status.phase, ended.status.candidate) == (Phase.PROGRESSING, B)


def test_a_rollout_comes_before_an_experiment_and_the_experiment_after_it() -> None:
    found = look(HEALTHY, 0, desired=Desired(revision=B, experiment=SPEC))
    assert (found.status.phase, found.status.experiment) == (Phase.PROGRESSING, None)
    aborted = look(found.status, 5, ScriptedJudge(verdict=Verdict.WORSE), desired=Desired(revision=B, experiment=SPEC))
    assert aborted.status.phase is Phase.ABORTED, "nothing begins beside what is not settled"


def test_without_stable_nothing_begins() -> None:
    assert look(RolloutStatus(), 0, desired=Desired(revision=None, experiment=SPEC)).status == RolloutStatus()


def test_the_baseline_is_stable_unless_it_has_a_revision_of_its_own() -> None:
    assert tally_key(SPEC, SPEC.variants[0], A) == STABLE
    own = SPEC.model_copy(update={"variants": (SPEC.variants[0].model_copy(update={"revision": B}), *SPEC.variants[1:])})
    assert tally_key(own, own.variants[0], A) == key("control", B.digest)


def test_two_variants_of_one_revision_are_an_a_a_test() -> None:
    spec = ExperimentSpec(variants=(ExperimentVariant(name="control", weight=50), ExperimentVariant(name="twin", weight=50)))
    desired = Desired(revision=A, experiment=spec)
    found = look(look(HEALTHY, 0, desired=desired).status, 5, desired=desired)
    assert weights(found) == {"twin": 50}
    assert tally_key(spec, spec.variants[1], A) == key("twin", A.digest)


def test_comparisons_share_alpha_and_the_baseline_is_compared_with_nobody() -> None:
    alphas, pairs = [], []

    class Judge(ScriptedJudge):
        def __call__(self, ledger: Any, analysis: Any, split: Any, baseline: Any, candidate: Any, *rest: Any) -> Any:
            alphas.append(analysis.alpha)
            pairs.append((baseline, candidate))
            assert split == {"b": 30, "c": 30}
            return super().__call__(ledger, analysis, split, baseline, candidate, *rest)

    found = look(running(), 5, Judge())
    assert (alphas, pairs) == ([0.025, 0.025], [(STABLE, KB), (STABLE, KC)])
    assert list(found.status.variant_assessments) == ["b", "c"]


REPORTS = [
    pytest.param("lower", (1000, 100), (1000, 40), (1000, 70), "b", id="the lowest wins"),
    pytest.param("higher", (1000, 100), (1000, 40), (1000, 170), "c", id="or the highest, if that is the goal"),
    pytest.param("lower", (1000, 10), (1000, 100), (1000, 170), "control", id="the baseline may win"),
    pytest.param("lower", (1000, 100), (1000, 40), (1000, 41), None, id="two that may be the same: no winner yet"),
    pytest.param("lower", (1000, 100), (1000, 40), (0, 0), None, id="one that nothing was measured of: no winner yet"),
]


@pytest.mark.parametrize(("goal", "control", "b", "c", "winner"), REPORTS)
def test_the_report(goal: Any, control: tuple[int, int], b: tuple[int, int], c: tuple[int, int], winner: str | None) -> None:
    spec = SPEC.model_copy(update={"goal": goal})
    status = running().model_copy(update={"experiment": spec})
    totals = {STABLE: rows(*control), KB: rows(*b), KC: rows(*c)}
    found = report(status, totals, tools(ScriptedJudge()).intervals, at(9))
    assert found.winner == winner
    assert found.reason
    assert [v.name for v in found.variants] == ["control", "b", "c"]
    first, second, third = found.variants
    assert first.difference is None
    assert (second.n, second.k, second.rate) == (*b, b[1] / b[0])
    assert second.difference == pytest.approx((second.rate - first.rate - 0.02, second.rate - first.rate + 0.02))  # type: ignore[operator]
    assert (third.rate is None) == (third.interval is None) == (c[0] == 0)


def test_without_a_measurement_the_report_says_of_whom() -> None:
    spec_status = running()
    found = report(spec_status, {KB: rows(1000, 40), KC: rows(1000, 100)}, tools(ScriptedJudge()).intervals, at(9))
    assert [v.difference for v in found.variants] == [None, None, None]
    assert "nothing was measured of control" in found.reason


def test_concluded_before_it_was_looked_at_it_reports_nothing() -> None:
    status = running().model_copy(update={"report": None})
    known = facts(desired=DESIRED)
    found = decide(RolloutSpec(), status, Assessment(), known, (said("conclude"),), at(5))
    assert isinstance(found, Conclude)
    assert (found.report.reason, found.report.is_final) == ("nothing was measured", True)


@pytest.mark.parametrize(("goal", "interval"), [("lower", (-0.5, 0.0)), ("higher", (0.0, 0.5))])
def test_a_difference_that_may_be_nothing_is_no_win(goal: Any, interval: tuple[float, float]) -> None:
    status = running().model_copy(update={"experiment": SPEC.model_copy(update={"goal": goal})})
    touching = Intervals(lambda n, k, alpha: (0.0, 1.0), lambda a, b, alpha: interval)
    found = report(status, {STABLE: rows(9, 1), KB: rows(9, 1), KC: rows(9, 1)}, touching, at(9))
    assert found.winner is None
    assert "may still be the same" in found.reason


def test_the_report_counts_from_the_split_and_shares_alpha_among_the_pairs() -> None:
    alphas: list[float] = []

    def difference(a: Any, b: Any, alpha: float) -> tuple[float, float]:
        alphas.append(alpha)
        return -1.0, 1.0

    status = running().model_copy(update={"split_since": at(3)})
    totals = {STABLE: rows(9, 1), KB: rows(9, 1), KC: rows(9, 1)}
    found = report(status, totals, Intervals(lambda n, k, alpha: (alpha, 1.0), difference), at(9))
    assert found.started == at(3)
    assert set(alphas) == {0.05 / 3}
    assert found.variants[0].interval == (0.05 / 3, 1.0)


def test_a_metric_counted_by_entity_is_reported_by_entity() -> None:
    spec = SPEC.model_copy(
        update={"analysis": Analysis.model_validate({"gates": [{"name": "errors"}, {"name": "alertRate", "unit": "entity"}]})}
    )
    status = running().model_copy(update={"experiment": spec})
    tally = Tally(rows=1000, entities=10, entities_bad={GateName.ALERT_RATE: 2})
    found = report(status, {STABLE: tally, KB: tally, KC: tally}, tools(ScriptedJudge()).intervals, at(9))
    assert (found.variants[0].n, found.variants[0].k) == (10, 2)


def test_a_stopped_variant_is_no_longer_judged() -> None:
    status = look(running(), 5, ScriptedJudge(by_candidate={KB: Verdict.WORSE})).status
    judge = ScriptedJudge()
    look(status, 10, judge)
    assert len(judge.splits) == 1


def test_a_variant_that_a_guard_stopped_does_not_win() -> None:
    status = running().model_copy(update={"stopped": {"b": "errors"}})
    totals = {STABLE: rows(1000, 100), KB: rows(1000, 40), KC: rows(1000, 100)}
    found = report(status, totals, tools(ScriptedJudge()).intervals, at(9))
    assert (found.winner, found.variants[1].stopped) == (None, "errors")


def test_the_report_is_there_at_every_look_and_is_the_end_s() -> None:
    tallies = {STABLE: rows(1000, 100), KB: rows(1000, 40), KC: rows(1000, 90)}
    found = look(running(), 5, ScriptedJudge(tallies=tallies))
    assert found.status.report is not None
    assert (found.status.report.winner, found.status.report.is_final) == ("b", False)
    ended = look(found.status, 3600, ScriptedJudge(tallies=tallies))
    assert ended.status.report is not None
    assert (ended.status.report.winner, ended.status.report.is_final) == ("b", True)
    assert ended.status.stable == A, "an experiment promotes nothing"


@pytest.mark.parametrize(
    ("gate", "unit", "expected"),
    [
        (GateName.ERRORS, "request", (10, 1)),
        (GateName.ALERT_RATE, "request", (20, 2)),
        (GateName.ALERT_RATE, "entity", (5, 3)),
        (GateName.PRECISION, "request", (7, 4)),
        (GateName.RECALL, "entity", (0, 0)),
    ],
)
def test_what_a_gate_counts(gate: GateName, unit: str, expected: tuple[int, int]) -> None:
    tally = Tally(
        requests=10,
        rows=20,
        bad={GateName.ERRORS: 1, GateName.ALERT_RATE: 2},
        entities=5,
        entities_bad={GateName.ALERT_RATE: 3},
        labels={GateName.PRECISION: (7, 4)},
    )
    counts = live(tally, Gate.model_validate({"name": gate, "unit": unit}))
    assert (counts.n, counts.k) == expected


@pytest.mark.parametrize(
    "variants",
    [
        pytest.param([{"name": "a", "weight": 50}, {"name": "stable", "weight": 50}], id="stable is a baseline's name"),
        pytest.param(
            [{"name": "stable", "weight": 50, "revision": B.model_dump(by_alias=True)}, {"name": "b", "weight": 50}],
            id="stable serves stable",
        ),
        pytest.param([{"name": "former", "weight": 50}, {"name": "b", "weight": 50}], id="former is the rollback window's"),
        pytest.param([{"name": "a", "weight": 50}, {"name": "b", "weight": 40}], id="weights that do not sum to 100"),
        pytest.param([{"name": "a", "weight": 50}, {"name": "a", "weight": 50}], id="a name twice"),
    ],
)
def test_an_experiment_that_is_none(variants: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="variant"):
        ExperimentSpec.model_validate({"variants": variants})


def test_the_policy_s_own_gates_do_not_matter_to_an_experiment() -> None:
    slow = RolloutSpec.model_validate({"analysis": {"latencyObjective": "7s"}})
    for is_known in (True, False):
        wanted = Desired(revision=A, experiment=SPEC, rollout=slow, is_rollout_known=is_known)
        found = look(HEALTHY, 0, desired=wanted)
        assert found.target is not None
        assert found.target.latency_objective_ms == 100


def test_a_scrape_between_two_counters_does_not_stop_the_report() -> None:
    tally = Tally(rows=3, bad={GateName.ALERT_RATE: 4})
    found = report(running(), {STABLE: tally, KB: tally, KC: tally}, standard_statistics().intervals, at(9))
    assert [(v.n, v.k) for v in found.variants] == [(3, 3)] * 3


def test_a_metric_that_an_experiment_cannot_measure_is_said_to_be_unmeasured() -> None:
    status = running().model_copy(update={"experiment": SPEC.model_copy(update={"metric": GateName.FLIPS})})
    tally = Tally(requests=1000, rows=1000)
    found = report(status, {STABLE: tally, KB: tally, KC: tally}, standard_statistics().intervals, at(9))
    assert "nothing was measured" in found.reason
