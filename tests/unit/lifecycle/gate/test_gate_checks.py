"""What the checks come to, and how they are written for a CI server and for people."""

from xml.etree import ElementTree

import numpy as np
import pytest

from lifecycle.documents.document import write
from lifecycle.errors import EvaluationError
from lifecycle.evaluation.fairness.disparity import SegmentedRows, judge_fairness
from lifecycle.evaluation.scored import Scored
from lifecycle.gate.checks import CHECKS, GateReport, Outcome, failed, in_order, passed, skipped
from lifecycle.gate.pages import gate_page, junit
from lifecycle.gate.policy import FamilyFloor, FigureFloor, GatePolicy, parse_policy, read_policy
from lifecycle.gate.row_checks import LEFT_OUT, champion_check, fairness_check, families_check, performance_check
from tests.unit.lifecycle.gate.judged import manifest

HOSTILE = "]]> <b>&\x00\x1b[2J\ud800 | [link](http://x) # head"


def report(*checks, required=()):
    return GateReport("flows", "3", "sha256:ab", in_order(checks), frozenset(required))


@pytest.mark.parametrize(("checks", "required", "is_passed"), [
    pytest.param([passed("schema", "fine")], ["schema"], True, id="what is required passed"),
    pytest.param([failed("fairness", "no", "mend")], [], False, id="a check that fails counts although nobody requires it"),
    pytest.param([skipped("signature", "no key", "sign")], [], True, id="a check that was skipped counts for nothing"),
    pytest.param([skipped("signature", "no key", "sign")], ["signature"], False, id="but where it is required"),
])  # fmt: skip
def test_what_fails_the_gate(checks, required, is_passed):
    assert report(*checks, required=required).is_passed is is_passed


def test_junit_says_each_check_whatever_its_words_hold():
    made = report(
        passed("schema", "fine"), failed("golden", HOSTILE, HOSTILE), skipped("drift", "none", "give"), skipped("lineage", "none", "give"),
        required=["lineage"],
    )  # fmt: skip
    (suite,) = ElementTree.fromstring(junit(made))
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped", "errors")} == {
        "tests": "4", "failures": "2", "skipped": "1", "errors": "0",
    }  # fmt: skip
    cases = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    assert cases == {"schema": ["system-out"], "golden": ["failure"], "drift": ["skipped"], "lineage": ["failure"]}
    assert "]]> <b>&" in suite.find("testcase[@name='golden']/failure").get("message")


def test_the_page_has_the_verdict_in_its_title_and_no_words_of_others_as_markdown():
    page = gate_page(report(failed("golden", HOSTILE, "build again"), passed("schema", "fine")))
    text = write(page, "md")
    assert text.startswith("# flows 3: failed: golden")
    assert "[link](http" not in text
    assert "\n# head" not in text
    assert page.record["checks"][0]["name"] == "schema", "in the order of the list"


def test_the_order_is_that_of_the_list():
    assert [c.name for c in in_order([skipped(name, "", "") for name in reversed(CHECKS)])] == list(CHECKS)


@pytest.mark.parametrize(("text", "says"), [
    pytest.param("floors: [{point: a, figure: accuracy, least: 0.9}]", "figure", id="a figure that is none"),
    pytest.param("floors: [{point: a, figure: recall, least: .nan}]", "least", id="a bound that is no number"),
    pytest.param("required: [speed]", "required", id="a check that is none"),
    pytest.param("budget: {run_ms: 0}", "run_ms", id="a budget that nothing can keep"),
    pytest.param("floors: [{point: a, figure: recall, least: 0}]", "greater than 0", id="a floor that every bundle reaches"),
    pytest.param("families: [{least: 0}]", "greater than 0", id="a recall that every bundle has"),
    pytest.param("surplus: 1", "surplus", id="a field that is none"),
    pytest.param("required: [performance]\nrequired: []", "'required' is there twice", id="a field twice"),
    pytest.param("[", "not YAML", id="no YAML"),
    pytest.param("- a", "dictionary", id="a list"),
])  # fmt: skip
def test_a_policy_that_is_wrong_is_named(tmp_path, text, says):
    path = tmp_path / "gate.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EvaluationError, match=says):
        read_policy(path)


def test_an_empty_policy_is_the_default(tmp_path):
    (tmp_path / "gate.yaml").write_text("", encoding="utf-8")
    assert read_policy(tmp_path / "gate.yaml") == parse_policy(None, "x") == GatePolicy()


def scored(n=4000, *, missed=0.1, alarms=0.02, seed=0, family=None):
    """Rows of which `missed` of the attacks and all but `alarms` of the benign ones lie below 0.5."""
    rng = np.random.default_rng(seed)
    attack = rng.random(n) < 0.3
    is_over = np.where(attack, rng.random(n) >= missed, rng.random(n) < alarms)
    score = np.where(is_over, 0.5 + rng.random(n) / 2, rng.random(n) * 0.49).astype(np.float32)
    names = None if family is None else np.where(attack, family(rng, n), "benign").astype(object)
    return Scored(score, attack, np.ones(n, dtype=bool), None, None, {}, family=names)


def floors(**least):
    return GatePolicy(
        floors=tuple(FigureFloor(point="alerting", figure=figure, least=value) for figure, value in least.items())
    )


@pytest.mark.parametrize(("policy", "outcome", "says"), [
    pytest.param(floors(recall=0.85), Outcome.PASSED, "1,", id="the lower bound reaches the floor"),
    pytest.param(floors(recall=0.9), Outcome.FAILED, "lower bound must be at least 0.9", id="the figure does, its bound does not"),
    pytest.param(floors(recall=0.99, precision=0.99), Outcome.FAILED, "precision", id="each floor that is not reached is named"),
    pytest.param(GatePolicy(floors=(FigureFloor(point="night", figure="recall", least=0.1),)), Outcome.FAILED, "night", id="no such point"),
])  # fmt: skip
def test_floors_are_shown_by_the_lower_bound(policy, outcome, says):
    check = performance_check(manifest(), scored(), policy, 60)
    assert check.outcome is outcome
    assert says in check.words


def test_what_the_bundle_promises_is_refuted_by_the_upper_bound_only():
    promising = manifest(requirement="recall >= 0.9", attack_share=0.3)
    assert performance_check(promising, scored(missed=0.1), GatePolicy(), 60).outcome is Outcome.PASSED, "0.9 within chance"
    broken = performance_check(promising, scored(missed=0.2), GatePolicy(), 60)
    assert broken.outcome is Outcome.FAILED
    assert "promises recall >= 0.9" in broken.words


def test_where_nothing_is_promised_and_no_floor_named_nothing_is_passed():
    assert performance_check(manifest(), scored(), GatePolicy(), 60).outcome is Outcome.SKIPPED


@pytest.mark.parametrize("requirement", ["recall >= 0.0", "recall >= 1.2.3", "recall >= .", "set by hand"])
def test_a_requirement_that_asks_for_nothing_is_no_promise(requirement):
    promising = manifest(requirement=requirement, attack_share=0.3)
    assert performance_check(promising, scored(), GatePolicy(), 60).outcome is Outcome.SKIPPED


def test_precision_is_not_judged_at_another_attack_share():
    promising = manifest(requirement="precision >= 0.999", attack_share=0.01)
    assert performance_check(promising, scored(), GatePolicy(), 60).outcome is Outcome.SKIPPED


def test_rows_of_one_class_show_nothing():
    rows = scored()
    assert performance_check(manifest(), rows.take(rows.attack), floors(recall=0.1), 60).outcome is Outcome.FAILED


def families(rng, n):
    return rng.choice(["dos", "probe"], n)


@pytest.mark.parametrize(("floor", "outcome", "says"), [
    pytest.param(FamilyFloor(least=0.9), Outcome.PASSED, "dos", id="few rows below are no proof of a loss"),
    pytest.param(FamilyFloor(least=0.9, is_shown=True), Outcome.FAILED, "recall of dos", id="to be shown: the lower bound counts"),
    pytest.param(FamilyFloor(least=0.97), Outcome.FAILED, "recall of", id="a loss that is proved"),
    pytest.param(FamilyFloor(least=0.1, families=("worm",)), Outcome.FAILED, "no row is of type worm", id="a type of no row"),
    pytest.param(FamilyFloor(least=0.97, families=(LEFT_OUT,)), Outcome.FAILED, "left_out", id="types that training did not have"),
])  # fmt: skip
def test_attack_types(floor, outcome, says):
    rows = scored(family=families)
    check = families_check(manifest(), rows, GatePolicy(families=(floor,)), np.asarray(rows.family == "probe"))
    assert check.outcome is outcome
    assert says in check.words


@pytest.mark.heavy
def test_a_champion_is_beaten_or_not():
    good, bad = scored(missed=0.05), scored(missed=0.3)
    worse = champion_check(manifest(), bad, manifest(), good, 60)
    assert worse.outcome is Outcome.FAILED
    assert "recall" in worse.words
    assert champion_check(manifest(), good, manifest(), bad, 60).outcome is Outcome.PASSED
    assert champion_check(manifest(), good, manifest(), good, 60).outcome is Outcome.PASSED


def test_each_type_is_judged_however_many_there_are():
    rows = scored(family=lambda rng, n: np.array([f"t{i:02}" for i in rng.integers(0, 40, n)]))
    check = families_check(manifest(), rows, GatePolicy(families=(FamilyFloor(least=0.5),)), None)
    assert len(check.figures) == 40


def test_rows_without_attacks_show_no_type():
    rows = scored(family=families)
    benign = rows.take(~rows.attack)
    assert families_check(manifest(), benign, GatePolicy(families=(FamilyFloor(least=0.5),)), None).outcome is Outcome.SKIPPED


@pytest.mark.parametrize("segments", [
    pytest.param(["a"] * 10 + ["b"] * 10, id="segments of a few rows"),
    pytest.param([""] * 20, id="no row is in a segment"),
])  # fmt: skip
def test_segments_that_are_too_small_show_no_fairness(segments):
    flags = np.arange(20) % 2 == 0
    entity = np.array([f"h{i}" for i in range(20)], dtype=object)
    found = judge_fairness(SegmentedRows(flags, ~flags, flags, entity, {"site": np.array(segments, dtype=object)}))
    assert fairness_check(found).outcome is Outcome.SKIPPED


def test_without_segments_fairness_is_skipped():
    assert fairness_check(None).outcome is Outcome.SKIPPED
