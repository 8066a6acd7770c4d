"""The lineage graph: from data to answers and back, as a tree, as a drawing, and found by what people call things."""

import xml.etree.ElementTree as ElementTree

import pytest

from lifecycle.governance.acts import Act
from lifecycle.governance.lineage.facts import AnswerFact, AnswersFact, BundleFact, RolloutFact, StoreFacts, graph_of
from lifecycle.governance.lineage.graph import Edge, LineageGraph, Node, NodeKind
from lifecycle.governance.lineage.resolve import LineageError, resolve
from lifecycle.governance.lineage.svg import draw
from lifecycle.governance.lineage.tree import tree_lines
from serving.models.manifest import Lineage, Manifest, TensorSpec
from serving.spec import RevisionSpec


def bundle(name="flows", version="1", digit="a", *, is_ours=True):
    lineage = Lineage(
        data_digest="sha256:" + "d" * 64,
        data={"rows": 1000, "attacks": 10},
        findings=("3 rows are out of order",),
        features={"service": "flows_v1", "digest": "sha256:" + "f" * 64, "views": {"host_60s": ["host_60s__flows"]}},
        code_commit="c" * 40,
        seed=1,
        detector={"provenance": {"source": "a capture"}},
    )
    tensor = TensorSpec(name="x", datatype="FP32", shape=(-1, 1))
    manifest = Manifest.model_construct(
        name=name,
        version=version,
        inputs=(tensor,),
        outputs=(tensor,),
        feature_service="flows_v1",
        lineage=lineage if is_ours else None,
    )
    return BundleFact("sha256:" + digit * 64, manifest)


OLD, NEW = bundle(), bundle(version="2", digit="b")
STABLE, CANDIDATE = RevisionSpec(bundle=OLD.digest), RevisionSpec(bundle=NEW.digest, thresholds={"siem_alerting": 0.9})
FACTS = StoreFacts(
    bundles=(OLD, NEW),
    revisions=(CANDIDATE,),
    rollouts=(RolloutFact("flows", 1, CANDIDATE, STABLE, "2026-01-01", "2026-01-02", "promoted", "ada", "better"),),
    answers=(AnswersFact("flows", "2", CANDIDATE.digest, 42, 1, 2),),
    acts=(Act(time_us=1, actor="ada", action="bundle.train", subject=f"bundle/{NEW.digest}", reason="weekly"),),
)


def test_an_answer_leads_back_to_its_data():
    graph = graph_of(FACTS, AnswerFact("r-1", "flows", "2", CANDIDATE.digest)).around("answer/r-1")
    kinds = [node.kind for node in graph.nodes.values()]
    for kind in (
        NodeKind.DATA,
        NodeKind.FEATURES,
        NodeKind.TRAINING,
        NodeKind.BUNDLE,
        NodeKind.REVISION,
        NodeKind.ANSWER,
        NodeKind.ACT,
    ):
        assert kind in kinds
    assert f"bundle/{OLD.digest}" not in graph.nodes
    assert graph.nodes[f"data/sha256:{'d' * 64}"].facts["provenance"] == {"source": "a capture"}


def test_data_leads_to_every_answer_that_rests_on_it():
    graph = graph_of(FACTS).around(f"data/sha256:{'d' * 64}")
    assert {f"bundle/{OLD.digest}", f"bundle/{NEW.digest}", f"answers/flows/{CANDIDATE.digest}", "rollout/flows/1"} <= set(
        graph.nodes
    )


def test_a_revision_says_how_it_differs_from_its_bundle():
    node = graph_of(FACTS).nodes[f"revision/{CANDIDATE.digest}"]
    assert "thresholds" in node.label
    assert node.facts["thresholds"] == {"siem_alerting": 0.9}


def test_an_answer_of_a_revision_that_nobody_explains_is_shown_as_that():
    graph = graph_of(FACTS, AnswerFact("r-1", "flows", "2", "sha256:" + "9" * 64)).around("answer/r-1")
    assert "not known to this store" in graph.nodes["revision/sha256:" + "9" * 64].label


def test_a_rollout_of_a_bundle_that_is_gone_is_shown_as_that():
    gone = RevisionSpec(bundle="sha256:" + "e" * 64)
    graph = graph_of(StoreFacts(rollouts=(RolloutFact("flows", 1, gone, None, "", None, "under way", "ada", ""),)))
    assert "not in this store" in graph.nodes[f"bundle/{gone.bundle}"].label


def test_a_bundle_made_elsewhere_has_no_past():
    graph = graph_of(StoreFacts(bundles=(bundle(is_ours=False),)))
    assert [node.kind for node in graph.nodes.values()] == [NodeKind.BUNDLE, NodeKind.REVISION]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        pytest.param("flows", f"bundle/{NEW.digest}", id="a name is its newest version"),
        pytest.param("flows:1", f"bundle/{OLD.digest}", id="a name and a version"),
        pytest.param(OLD.digest, f"bundle/{OLD.digest}", id="a digest"),
        pytest.param("a" * 8, f"bundle/{OLD.digest}", id="the first digits of a digest"),
        pytest.param("rollout/flows", "rollout/flows/1", id="the newest rollout of a service"),
        pytest.param(f"revision/{CANDIDATE.digest}", f"revision/{CANDIDATE.digest}", id="a node's own name"),
    ],
)
def test_what_people_call_things(reference, expected):
    assert resolve(graph_of(FACTS), reference) == expected


@pytest.mark.parametrize("reference", ["nothing", "flows:9", "rollout/other", "0" * 8])
def test_what_is_not_there_is_said_with_what_is(reference):
    with pytest.raises(LineageError, match=r"flows 1|rollout/flows/1"):
        resolve(graph_of(FACTS), reference)


def test_the_tree_names_everything_once_with_its_branches():
    graph = graph_of(FACTS).around(f"bundle/{NEW.digest}")
    lines = tree_lines(graph, f"bundle/{NEW.digest}")
    assert lines[0].startswith("bundle: flows 2")
    assert sum("training at commit" in line for line in lines) == 1
    assert any("rollout 1 of flows: promoted" in line for line in lines[lines.index("led to") :])


def test_a_circle_ends():
    nodes = [Node(name, NodeKind.BUNDLE, name) for name in "ab"]
    graph = LineageGraph.of(nodes, [Edge("a", "b", "x"), Edge("b", "a", "x")])
    assert set(graph.around("a").nodes) == {"a", "b"}
    assert len(tree_lines(graph, "a")) == 7


def test_the_drawing_is_whole_svg_and_shows_every_node():
    odd = bundle(name="<flows> & co", digit="7")
    graph = graph_of(StoreFacts(bundles=(*FACTS.bundles, odd), rollouts=FACTS.rollouts, answers=FACTS.answers, acts=FACTS.acts))
    root = ElementTree.fromstring(draw(graph, f"bundle/{odd.digest}"))
    assert len(root.findall("{*}g")) == len(graph.nodes)
    assert len(root.findall("{*}path")) == len(graph.edges)


def test_generated_rows_do_not_get_the_declared_origin():
    made = bundle()
    lineage = made.manifest.lineage.model_copy(update={"data": {"is_generated": True, "rows": 5, "attacks": 1}})
    fact = BundleFact(made.digest, made.manifest.model_copy(update={"lineage": lineage}))
    node = graph_of(StoreFacts(bundles=(fact,))).nodes[f"data/{lineage.data_digest}"]
    assert "does not apply" in node.facts["provenance"]["source"]
    assert node.label.startswith("generated")


def test_data_is_found_by_the_md5_of_its_file_and_a_bundle_by_the_run_of_its_pipeline():
    made = bundle()
    lineage = made.manifest.lineage.model_copy(
        update={"data": {"rows": 5, "attacks": 1, "file": {"md5": "0123456789abcdef" * 2, "size": 9}}}
    )
    fact = BundleFact(made.digest, made.manifest.model_copy(update={"lineage": lineage}))
    run = Act(
        time_us=2, actor="ada", action="pipeline.run", subject="pipeline/flows", reason="train ran", evidence={"run": "r1"}
    )
    other = Act(
        time_us=3, actor="ada", action="pipeline.run", subject="pipeline/flows", reason="gate ran", evidence={"run": "r2"}
    )
    train = Act(
        time_us=1,
        actor="ada",
        action="bundle.train",
        subject=f"bundle/{made.digest}",
        reason="",
        evidence={"pipeline_run": "r1"},
    )
    graph = graph_of(StoreFacts(bundles=(fact,), acts=(train, run, other)))
    data = f"data/{lineage.data_digest}"
    assert resolve(graph, "0123456789abcdef" * 2) == resolve(graph, "01234567") == data
    around = graph.around(f"bundle/{made.digest}").nodes
    assert "act/2" in around
    assert "act/3" not in around
    assert around[data].facts["file"]["md5"] == "0123456789abcdef" * 2
