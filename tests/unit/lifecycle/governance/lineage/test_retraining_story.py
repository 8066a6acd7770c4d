"""The story of a retraining in a lineage graph: from the alarm to the rollout, and what was refused."""

import msgspec
import pytest

from lifecycle.governance.acts import Act
from lifecycle.governance.lineage.facts import RolloutFact, RolloutMove, StoreFacts, graph_of
from lifecycle.governance.lineage.graph import LineageGraph, Node, NodeKind
from lifecycle.governance.lineage.retraining import asked_for, data_nodes, retraining_nodes
from lifecycle.governance.lineage.story import story_of, story_text
from lifecycle.governance.lineage.svg import draw
from lifecycle.governance.lineage.tree import tree_lines
from serving.spec import RevisionSpec

DATA = {
    "base": {"digest": "sha256:base", "rows": 100},
    "labels": {"digest": "sha256:labels", "rows": 20, "attacks": 9, "false_alarms": 2},
    "retraining": {"trigger": "t1"},
}


def act(action, outcome="accepted", subject="modelservice/local/flows", **evidence):
    return Act(
        time_us=1,
        actor="ada",
        action=action,
        subject=subject,
        reason=f"because of {action}",
        evidence=evidence,
        outcome=outcome,
    )


ALARM = act("monitor.alarm", alarm_id="a1", kind="performance", subject_="recall")
TRIGGER = act("retraining.trigger", trigger="t1", strategy="on_demand", alarms=["a1"])


GATE = act(
    "gate.judge", trigger="t1", bundle="sha256:new", checks={"schema": "passed", "fairness": "skipped", "golden": "passed"}
)


def challenge(outcome):
    return act("retraining.challenge", outcome, trigger="t1", bundle="sha256:new", champion="sha256:old")


def graph(*acts, with_bundle=True):
    nodes, edges = retraining_nodes(acts)
    if with_bundle:
        run = "training/sha256:new"
        of_data, reads = data_nodes(DATA, "sha256:all", run)
        nodes += [
            Node(run, NodeKind.TRAINING, "training"), Node("bundle/sha256:new", NodeKind.BUNDLE, "flows 2"),
            Node("bundle/sha256:old", NodeKind.BUNDLE, "flows 1"), Node("revision/sha256:rev", NodeKind.REVISION, "revision"), *of_data,
        ]  # fmt: skip
        edges += [*asked_for(DATA, run), *reads]
    return LineageGraph.of(nodes, edges)


def test_an_alarm_leads_by_way_of_trigger_and_challenge_to_the_revision_that_is_rolled_out():
    told = graph(ALARM, TRIGGER, GATE, challenge("accepted"), act("retraining.rollout", trigger="t1", revision="sha256:rev"))
    assert [(e.source, e.target) for e in told.edges] == [
        ("alarm/a1", "trigger/t1"), ("bundle/sha256:new", "gate/t1"), ("gate/t1", "challenge/t1"),
        ("bundle/sha256:new", "challenge/t1"), ("bundle/sha256:old", "challenge/t1"),
        ("challenge/t1", "revision/sha256:rev"), ("trigger/t1", "training/sha256:new"), ("data/sha256:base", "training/sha256:new"),
        ("data/sha256:labels", "training/sha256:new"),
    ]  # fmt: skip
    assert told.nodes["gate/t1"].label == "passed: schema, golden"
    assert told.nodes["data/sha256:labels"].label.startswith("20 labelled rows, 9 attacks, 2 false alarms")
    lines = "\n".join(tree_lines(told.around("training/sha256:new"), "training/sha256:new"))
    assert "trigger: on_demand asked for a training" in lines
    assert "alarm: performance of" in lines
    assert draw(told).count("<rect") == len(told.nodes) + 1


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(challenge("refused"), id="a challenger that lost, whose bundle is not in the store"),
        pytest.param(act("retraining.train", "refused", trigger="t1"), id="a training that failed"),
    ],
)
def test_what_came_to_nothing_hangs_on_its_trigger(last):
    told = graph(ALARM, TRIGGER, last, with_bundle=False)
    assert [(e.source, e.target) for e in told.edges] == [("alarm/a1", "trigger/t1"), ("trigger/t1", "challenge/t1")]


def test_a_bundle_that_the_gate_stopped_hangs_on_its_trigger_and_says_why():
    stopped = act("gate.judge", "refused", trigger="t1", bundle="sha256:new", checks={"golden": "failed"})
    told = graph(TRIGGER, stopped, with_bundle=False)
    assert [(e.source, e.target) for e in told.edges] == [("trigger/t1", "gate/t1")]
    assert told.nodes["gate/t1"].label == "did not pass: because of gate.judge"


def test_a_gate_that_a_person_ran_is_an_act_about_its_bundle():
    by_hand = act("gate.judge", subject="bundle/sha256:new", bundle="sha256:new")
    told = graph_of(StoreFacts(acts=(by_hand,)))
    assert [(n.kind, n.label) for n in told.nodes.values()] == [(NodeKind.ACT, "gate.judge by ada")]


def at(time_us, one):
    return msgspec.structs.replace(one, time_us=time_us)


def rollout(*moves):
    stable, candidate = RevisionSpec(bundle="sha256:" + "0" * 64), RevisionSpec(bundle="sha256:" + "1" * 64)
    return RolloutFact("flows", 1, candidate, stable, moves[0].at, moves[-1].at, "promoted", "ada", "all passed", moves)


def test_the_story_is_told_in_order_of_time_and_of_the_log():
    promoted = rollout(
        RolloutMove("1970-01-01T00:00:04+00:00", "start", "ada", "it is better", 0),
        RolloutMove("1970-01-01T00:00:05+00:00", "mirror", "operator", "step 1", 0),
        RolloutMove("1970-01-01T00:00:05+00:00", "pass mirror", "operator", "100 % of requests are mirrored", 0),
        RolloutMove("1970-01-01T00:00:05+00:00", "pass analysis", "operator", "no_worse: errors", 0),
        RolloutMove("1970-01-01T00:00:06+00:00", "setWeight", "operator", "step 2", 25.0),
        RolloutMove("1970-01-01T00:00:07+00:00", "promote", "operator", "no_worse", 100.0),
    )
    revision = promoted.candidate.digest
    bundle = promoted.candidate.bundle
    about = {"trigger": "t1", "bundle": bundle}
    acts = (
        at(1_000_000, ALARM), at(3_000_000, TRIGGER), at(3_000_000, act("retraining.train", **about)),
        at(3_000_000, act("gate.judge", **about, checks={"schema": "passed"})),
        at(3_000_000, act("retraining.challenge", **about, champion="sha256:" + "0" * 64)),
        at(3_000_000, act("retraining.rollout", **about, revision=revision, version="2")),
        at(4_000_000, act("rollout.start", revision=revision)),
        at(5_000_000, act("rollout.pass", revision=revision)), at(6_500_000, act("rollout.approve", revision=revision)),
        at(2_000_000, act("retraining.trigger", trigger="of another training", strategy="scheduled")),
    )  # fmt: skip
    facts = StoreFacts(acts=acts, rollouts=(promoted,))
    told = story_of(graph_of(facts).around("rollout/flows/1"), facts)
    assert [(line.what, line.words) for line in told] == [
        ("training", "because of retraining.train"),
        ("gate", "passed: schema"),
        ("challenge", "because of retraining.challenge"),
        ("rollout", "version 2 is asked for"),
        ("rollout", "start by ada: it is better"),
        ("rollout", "mirror: step 1"),
        ("rollout", "pass analysis: no_worse: errors"),
        ("rollout", "setWeight 25 %: step 2"),
        ("act", "rollout.approve by ada: because of rollout.approve"),
        ("rollout", "promote: no_worse"),
    ]
    assert story_text(told)[:2] == [
        "what happened, in order (UTC)",
        "1970-01-01 00:00:03  training   because of retraining.train",
    ]


def test_a_time_that_no_calendar_has_is_told_as_its_number():
    facts = StoreFacts(acts=(at(10**18, TRIGGER),))
    drawn = graph_of(facts)
    assert drawn.nodes["trigger/t1"].facts["time"] == "time_us 1000000000000000000"
    assert story_text(story_of(drawn, facts))[1].startswith("time_us 1000000000000000000  trigger")


def test_there_is_no_story_where_nothing_is_recorded():
    assert story_text(story_of(LineageGraph.of([], []), StoreFacts())) == []


def test_a_trigger_that_was_refused_says_so():
    told = graph(act("retraining.refuse", "refused", trigger="t2", strategy="scheduled"), with_bundle=False)
    assert told.nodes["trigger/t2"].label == "scheduled refused: because of retraining.refuse"


def test_a_bundle_that_people_trained_has_no_such_story():
    assert data_nodes({"rows": 5}, "sha256:x", "training/x") == ([], [])
    assert asked_for({"rows": 5}, "training/x") == []
