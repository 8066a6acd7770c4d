"""The story of a retraining in a lineage graph: from the alarm to the rollout, and what was refused."""

import pytest

from lifecycle.governance.acts import Act
from lifecycle.governance.lineage.graph import LineageGraph, Node, NodeKind
from lifecycle.governance.lineage.retraining import asked_for, data_nodes, retraining_nodes
from lifecycle.governance.lineage.svg import draw
from lifecycle.governance.lineage.tree import tree_lines

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
    told = graph(ALARM, TRIGGER, challenge("accepted"), act("retraining.rollout", trigger="t1", revision="sha256:rev"))
    assert [(e.source, e.target) for e in told.edges] == [
        ("alarm/a1", "trigger/t1"), ("bundle/sha256:new", "challenge/t1"), ("bundle/sha256:old", "challenge/t1"),
        ("challenge/t1", "revision/sha256:rev"), ("trigger/t1", "training/sha256:new"), ("data/sha256:base", "training/sha256:new"),
        ("data/sha256:labels", "training/sha256:new"),
    ]  # fmt: skip
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


def test_a_trigger_that_was_refused_says_so():
    told = graph(act("retraining.refuse", "refused", trigger="t2", strategy="scheduled"), with_bundle=False)
    assert told.nodes["trigger/t2"].label == "scheduled refused: because of retraining.refuse"


def test_a_bundle_that_people_trained_has_no_such_story():
    assert data_nodes({"rows": 5}, "sha256:x", "training/x") == ([], [])
    assert asked_for({"rows": 5}, "training/x") == []
