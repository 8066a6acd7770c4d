"""One look after another: from an alarm to a rollout, what stops a challenger, and what a killed run leaves behind."""

import json
import shutil
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from msgspec.structs import replace as changed

from lifecycle.retraining.decide import Refuse, Train, Wait, expected_compute_s
from lifecycle.retraining.progress import load_progress
from lifecycle.retraining.run import advance, check
from tests.unit.lifecycle.retraining.world import DAY_US, HOUR_US, MONDAY_US, POLICY, drifted, policy, stale

pytestmark = pytest.mark.heavy

NOW = MONDAY_US + 13 * HOUR_US

TRAINED = [("retraining.trigger", "accepted"), ("retraining.train", "accepted"), ("gate.judge", "accepted")]
STORY = [*TRAINED, ("retraining.challenge", "accepted")]
ROLLED_OUT = [*STORY, ("retraining.rollout", "accepted")]


class Killed(BaseException):
    """As by a signal: nothing catches it."""


def test_an_alarm_becomes_a_rollout_and_nothing_else_changes_what_serves(tmp_path):
    world = stale(tmp_path)
    look = advance(world.at, policy(), NOW)
    assert look.ended.outcome == "rolled_out", look.words
    assert world.acts.told() == ROLLED_OUT
    assert [digest for digest, _, _ in world.releases.asked] == [look.ended.bundle]
    assert world.releases.champion("logins").bundle == world.champion.digest
    assert {path.suffix for path in look.report.iterdir()} == {".json", ".md", ".html"}
    newest = next(g for g in look.challenged.gates if (g.kind, g.figure) == ("newest", "recall"))
    assert (newest.verdict, newest.champion) == ("better", 0.0)


def test_the_bundle_says_what_asked_for_it_and_what_it_learnt_from(tmp_path):
    world = stale(tmp_path)
    look = advance(world.at, policy(), NOW)
    lineage = world.store.read(look.ended.bundle).manifest.lineage
    assert lineage.data["retraining"]["trigger"] == look.ended.trigger_id
    assert lineage.data["retraining"]["champion"] == world.champion.digest
    assert lineage.data["labels"]["rows"] == 280
    assert lineage.data["base"]["digest"] == world.base.data.digest
    assert world.acts.acts[0].evidence["alarms"] == ["alarm-0"]
    example = json.loads((world.store.read(look.ended.bundle).folder / "example.json").read_text(encoding="utf-8"))
    seconds = next(tensor["data"] for tensor in example["inputs"] if tensor["name"] == "seconds")
    assert set(seconds) <= set(world.base.data.frame["seconds"]), "an example shows nobody's labelled row"


def test_a_look_that_decides_to_wait_does_nothing(tmp_path):
    world = stale(tmp_path)
    world.alarms.clear()
    assert isinstance(check(world.at, policy(), NOW), Wait)
    assert not world.at.folder.exists()
    assert isinstance(advance(world.at, policy(), NOW).decision, Wait)
    assert world.acts.acts == []


def test_a_check_says_what_a_run_would_do_and_does_nothing(tmp_path):
    world = stale(tmp_path)
    found = check(world.at, policy(), NOW)
    assert isinstance(found, Train)
    assert (world.acts.acts, world.releases.asked, world.at.folder.exists()) == ([], [], False)
    assert advance(world.at, policy(), NOW).decision == found


def test_after_a_promotion_the_next_training_goes_on_from_the_new_champion(tmp_path):
    world = stale(tmp_path)
    first = advance(world.at, policy(), NOW)
    world.releases.promote()
    assert isinstance(advance(world.at, policy(), NOW + DAY_US).decision, Wait), "alarms of the old revision ask for nothing"
    frame = drifted(300, seed=9)
    events = world.answer(frame, MONDAY_US + DAY_US)
    world.label(events, frame, MONDAY_US + DAY_US + 6 * HOUR_US, family="slow")
    world.alarm(MONDAY_US + DAY_US, MONDAY_US + DAY_US + HOUR_US)
    second = advance(world.at, policy(POLICY.replace("newest: {", "newest: {undecided: as_seen, ")), NOW + DAY_US)
    assert second.ended.outcome == "rolled_out", second.words
    slow = next(g for g in second.challenged.gates if g.subject == "slow")
    assert slow.champion > 0.9, "what was learnt is now what may not be forgotten"
    assert second.ended.bundle != first.ended.bundle


def test_a_budget_that_is_spent_is_on_record_once(tmp_path):
    world = stale(tmp_path)
    rules = policy().model_copy(update={"budget": policy().budget.model_copy(update={"trainings_a_week": 0})})
    for hour in range(3):
        assert isinstance(advance(world.at, rules, NOW + hour * HOUR_US // 10).decision, Refuse)
    assert world.acts.told() == [("retraining.refuse", "refused")]


def test_wrong_labels_do_not_pass(tmp_path):
    """Somebody calls every attack of the kept kind benign: what the champion finds is lost on the kept rows."""
    world = stale(tmp_path)
    frame = drifted(600, seed=3, kind="as before")
    events = world.answer(frame, MONDAY_US + 7 * HOUR_US, step_us=1_000_000)
    world.label(events, frame, NOW - HOUR_US)
    for event in events:
        world.labels[event] = changed(world.labels[event], verdict="benign", family=None)
    rules = policy(
        "strategies: {on_demand: {}}\nlabels: {false_alarm_cap: 0.9, false_alarm_weight: 50}\nchallenge: {draws: 400}"
    )
    look = advance(world.at, rules, NOW)
    assert look.ended.outcome == "not_passed", look.words
    assert world.releases.asked == []
    assert world.acts.told() == [*TRAINED, ("retraining.challenge", "refused")]
    assert [e.digest for e in world.store.entries()] == [world.champion.digest], "a challenger that lost is not in the store"
    assert (world.at.folder / "challengers" / look.ended.trigger_id / "bundle.json").is_file(), "it can still be looked at"
    again = advance(world.at, rules, NOW + HOUR_US)
    assert isinstance(again.decision, Wait)


def test_base_rows_that_are_not_the_champion_s_are_refused(tmp_path):
    world = stale(tmp_path)
    other = replace(world.base, data=replace(world.base.data, digest="sha256:other"))
    look = advance(replace(world.at, base=lambda declared: other), policy(), NOW)
    assert look.ended.outcome == "failed"
    assert "the champion was trained on" in look.words
    assert world.acts.told() == [("retraining.trigger", "accepted"), ("retraining.train", "refused")]


def test_a_challenger_that_passed_waits_while_something_else_is_rolled_out(tmp_path):
    world = stale(tmp_path)

    def somebody_starts(what, share):
        if what == "judging the challenger":
            world.releases.under_way = world.champion

    look = advance(replace(world.at, tell=somebody_starts), policy(), NOW)
    assert "its rollout waits" in look.words
    assert world.releases.asked == []
    world.releases.abort()
    assert advance(world.at, policy(), NOW + HOUR_US).ended.outcome == "rolled_out"
    assert world.acts.told() == ROLLED_OUT


def killed_after(world, name):
    """The world, in which the process is killed when this call of its releases has taken effect."""

    class Releases:
        def __getattr__(self, asked):
            return called if asked == name else getattr(world.releases, asked)

    def called(*args):
        getattr(world.releases, name)(*args)
        raise Killed

    return replace(world.at, releases=Releases())


def test_another_champion_meanwhile_ends_the_training(tmp_path):
    world = stale(tmp_path)
    with pytest.raises(Killed):
        advance(killed_after(world, "publish"), policy(), NOW)
    world.releases.serving = replace(world.releases.serving, bundle="sha256:" + "0" * 64)
    look = advance(world.at, policy(), NOW + HOUR_US)
    assert look.ended.outcome == "failed"
    assert "another revision is served now" in look.words
    assert world.releases.asked == []


def test_a_challenger_that_was_promoted_while_its_run_was_dead_was_rolled_out(tmp_path):
    world = stale(tmp_path)
    with pytest.raises(Killed):
        advance(killed_after(world, "start"), policy(), NOW)
    world.releases.promote()
    look = advance(world.at, policy(), NOW + DAY_US)
    assert (look.ended.outcome, look.ended.bundle) == ("rolled_out", world.releases.serving.bundle)
    assert world.acts.told() == ROLLED_OUT
    assert len(world.releases.asked) == 1
    assert load_progress(world.at.folder, "logins", NOW).labels_until_us > 0, "its labels were used"


def test_a_killed_run_does_not_make_the_next_training_look_costlier(tmp_path):
    world = stale(tmp_path)
    with pytest.raises(Killed):
        advance(calls_of(world, 12)[0], policy(), NOW)
    ended = advance(world.at, policy(), NOW).ended
    reserved = policy().budget.first_training
    assert ended.compute_s > reserved, "what the killed run took at most counts against the budget"
    assert expected_compute_s(policy(), load_progress(world.at.folder, "logins", NOW), "on_demand") < reserved


def test_the_processor_time_of_the_budget_stops_a_training(tmp_path):
    world = stale(tmp_path)
    rules = policy().model_copy(
        update={"budget": policy().budget.model_copy(update={"compute_a_week": 0, "first_training": 0})}
    )

    look = advance(world.at, rules, NOW)
    assert look.ended.outcome == "failed"
    assert "processor time" in look.words


def test_a_challenger_whose_bundle_does_not_pass_the_gate_is_not_compared(tmp_path):
    world = stale(tmp_path)
    rules = policy(POLICY.replace("{draws: 400,", "{draws: 400, bundle: {megabytes: 0.001},"))
    look = advance(world.at, rules, NOW)
    assert (look.ended.outcome, look.challenged) == ("not_passed", None)
    assert "does not pass the gate: budget:" in look.words
    assert world.acts.told() == [*TRAINED[:2], ("gate.judge", "refused")]
    assert world.acts.acts[-1].subject == f"bundle/{look.ended.bundle}"
    assert world.releases.asked == []
    assert isinstance(advance(world.at, rules, NOW + HOUR_US).decision, Wait)


def test_a_challenger_may_not_say_less_of_its_origin_than_the_champion(tmp_path):
    world = stale(tmp_path)

    def gate(bundle, rules):
        lineage = bundle.manifest.lineage.model_copy(update={"seed": None})
        return world.gate(replace(bundle, manifest=bundle.manifest.model_copy(update={"lineage": lineage})), rules)

    look = advance(replace(world.at, gate=gate), policy(), NOW)
    assert look.ended.outcome == "not_passed"
    assert "lineage: missing: seed" in look.words


def stopped_at(world, what):
    """The world, in which a training fails when it comes to this."""
    from lifecycle.errors import TrainingError

    def tell(said, share):
        if said == what:
            raise TrainingError("the rows are of no use")

    return replace(world.at, tell=tell)


def test_a_training_that_failed_has_used_its_processor_time(tmp_path):
    world = stale(tmp_path)
    look = advance(stopped_at(world, "judging the challenger"), policy(), NOW)
    assert look.ended.outcome == "failed"
    assert look.ended.compute_s > 0
    assert load_progress(world.at.folder, "logins", NOW).past[-1].compute_s == look.ended.compute_s


def test_a_processor_time_that_was_used_up_by_what_failed_is_spent(tmp_path, monkeypatch):
    seconds = count(0, 150)
    monkeypatch.setattr("lifecycle.retraining.run.time.process_time", lambda: float(next(seconds)))
    world = stale(tmp_path)
    budget = policy().budget.model_copy(update={"compute_a_week": 100, "first_training": 60})
    rules = policy().model_copy(update={"budget": budget, "cool_down": 0})
    first = advance(world.at, rules, NOW)
    assert "are spent" in first.words
    second = advance(world.at, rules, NOW + HOUR_US)
    assert isinstance(second.decision, Refuse), second.words
    assert world.acts.told()[-1] == ("retraining.refuse", "refused")


def test_a_champion_that_is_gone_from_the_store_ends_the_training(tmp_path):
    world = stale(tmp_path)
    for path in (tmp_path / "store").rglob(world.champion.digest.removeprefix("sha256:")):
        shutil.rmtree(path)
    look = advance(world.at, policy(), NOW)
    assert look.ended.outcome == "failed"
    assert world.acts.told() == [STORY[0], ("retraining.train", "refused")]


def calls_of(world, kill_at=None, *, after=False):
    """The world, whose every call from retraining is a moment to be killed at, before or after it has taken effect."""
    number = count()

    def wrapped(call):
        def called(*args, **kwargs):
            is_last = next(number) == kill_at
            if is_last and not after:
                raise Killed
            found = call(*args, **kwargs)
            if is_last:
                raise Killed
            return found

        return called

    class Ports:
        def __init__(self, inner, names):
            for name in names:
                setattr(self, name, wrapped(getattr(inner, name)))

    releases = Ports(world.releases, ("champion", "busy", "bundle", "next_version", "publish", "start"))
    acts = Ports(world.acts, ("record", "read"))
    ports = {"base": wrapped(world.at.base), "answers": wrapped(world.at.answers), "labels": wrapped(world.at.labels)}
    told = {"alarms": wrapped(world.at.alarms), "tell": wrapped(world.at.tell), "gate": wrapped(world.at.gate)}
    return replace(world.at, releases=releases, acts=acts, **ports, **told), number


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.soak)])
def test_killed_at_any_call_it_ends_as_if_it_had_not_been(tmp_path, every):
    whole = stale(tmp_path / "whole")
    at, number = calls_of(whole)
    expected = advance(at, policy(), NOW)
    calls = next(number)
    assert calls > 20
    for moment in range(0, calls, every):
        world = stale(tmp_path / f"{moment}")
        at, _ = calls_of(world, moment, after=moment % 2 == 0)
        with pytest.raises(Killed):
            advance(at, policy(), NOW)
        look = advance(world.at, policy(), NOW)
        if look.ended is None:  # it was killed after its last word
            assert isinstance(look.decision, Wait)
        assert world.acts.told() == ROLLED_OUT, moment
        assert [digest for digest, _, _ in world.releases.asked] == [expected.ended.bundle], moment
        ended = load_progress(world.at.folder, "logins", NOW).past
        assert [(p.trigger_id, p.outcome, p.bundle) for p in ended] == [
            (expected.ended.trigger_id, "rolled_out", expected.ended.bundle)
        ]


INCREMENTS = """
strategies: {incremental: {min_new_labels: 10, trees: 5, replay_rows: 400, max_trees: 60}}
labels: {inclusion_cap: 5}
challenge: {draws: 400, newest: {undecided: as_seen, recall_margin: 0.3}, kept: {recall_margin: 0.2, false_alarm_margin: 0.1}}
"""


def test_increments_continue_the_champion_and_pass_the_gates(tmp_path):
    world = stale(tmp_path)
    advance(world.at, policy(INCREMENTS), NOW - 2 * HOUR_US)  # the first look: times before it do not count
    sizes, recalls = [], []
    for hour in range(3):
        look = advance(world.at, policy(INCREMENTS), NOW + hour * HOUR_US)
        assert look.ended.outcome == "rolled_out", look.words
        assert "left_out" not in {g.kind for g in look.challenged.gates}
        newest = next(g for g in look.challenged.gates if (g.kind, g.figure) == ("newest", "recall"))
        recalls.append(newest.challenger)
        world.releases.promote()
        bundle = world.store.read(world.releases.serving.bundle)
        sizes.append(trees_in(bundle))
        frame = drifted(60, seed=20 + hour)
        events = world.answer(frame, NOW + hour * HOUR_US, step_us=10_000_000)
        world.label(events, frame, NOW + hour * HOUR_US + HOUR_US // 2, family="slow")
    assert np.diff([trees_in(world.champion), *sizes]).tolist() == [5, 5, 5]
    assert recalls[-1] > 0.9, "the new kind was learnt in steps"


def trees_in(bundle):
    import onnx

    graph = onnx.load(bundle.model_path).graph
    node = next(n for n in graph.node if n.op_type == "TreeEnsembleRegressor")
    return len(set(next(a for a in node.attribute if a.name == "nodes_treeids").ints))


def test_an_increment_that_would_make_the_model_too_large_is_left_to_whole_trainings(tmp_path):
    world = stale(tmp_path)
    rules = policy(INCREMENTS.replace("max_trees: 60", "max_trees: 22"))
    advance(world.at, rules, NOW - 2 * HOUR_US)
    look = advance(world.at, rules, NOW)
    assert look.ended.outcome == "failed"
    assert "incremental.max_trees (22); train it in full" in look.words


def test_trees_that_are_not_the_champion_s_are_not_continued(tmp_path):
    world = stale(tmp_path)
    advance(world.at, policy(INCREMENTS), NOW - 2 * HOUR_US)
    first = advance(world.at, policy(INCREMENTS), NOW)
    world.releases.promote()
    (kept,) = (world.at.folder / "trees").iterdir()
    kept.unlink()
    frame = drifted(60, seed=20)
    world.label(world.answer(frame, NOW), frame, NOW + HOUR_US // 2, family="slow")
    look = advance(world.at, policy(INCREMENTS), NOW + HOUR_US)
    assert first.ended.outcome == "rolled_out"
    assert look.ended.outcome == "failed"
    assert "are not kept on this machine" in look.words
