"""Answers with explanations: asked by a parameter, an output for each row, one thread, few that wait, and a record that says so."""

import asyncio
import json
import threading

import pytest

from serving.errors import BadRequest, DeadlineExceeded, Overloaded
from serving.ports import JudgedRows
from serving.scoring.explained import MOST_ROWS, ExplanationThread
from tests.unit.serving.scoring.variants import World, host, request, spec, tensors, threat, variant
from tests.waiting import HANG_S, pass_time, until_so


def explained(answer):
    (output,) = [o for o in answer.outputs if o.name == "explanation"]
    assert output.datatype == "BYTES"
    return [json.loads(line) for line in output.data]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return threat(tmp_path_factory.mktemp("explained") / "b", "1", 1.0)


@pytest.fixture
async def served(tmp_path, bundle):
    world = World(tmp_path)
    world.store.add(bundle)
    await world.service.apply(spec(bundle))
    return world


class _Gate:
    """An explainer that waits until it is let go; it stands for one that takes long."""

    def __init__(self) -> None:
        self.opened, self.budgets = threading.Event(), []

    def explain(self, method: str, rows: JudgedRows, budget_s: float) -> list[bytes]:
        self.budgets.append(budget_s)
        self.opened.wait(HANG_S)
        return [b"{}"] * len(rows.verdicts)


@pytest.fixture
async def gated(served):
    gate = _Gate()
    served.serve("stable", explainer=gate)
    yield gate
    gate.opened.set()


@pytest.mark.parametrize(
    "asked", [request(host(1), host(2), level=[2.0, -2.0], explain="shap"), tensors(2.0, -2.0, explain="shap")]
)
async def test_each_row_is_explained_whichever_way_it_came(served, asked):
    answer = await served.service.infer(asked)
    up, down = explained(answer)
    assert [(up["verdict"], up["is_exact"]), (down["verdict"], down["is_exact"])] == [("alert", True), ("benign", True)]
    assert up["base"] + up["attributions"]["level"] == pytest.approx(up["score"])
    (reason,) = up["reasons"]
    assert (reason["column"], reason["direction"], reason["share"], reason["value"]) == ("level", "raises", 1.0, 2.0)
    assert [r["direction"] for r in down["reasons"]] == ["lowers"], "of a benign row, what speaks for benign"
    assert answer.parameters["explain"] == "shap"
    assert [r.explained for r in served.audit.records] == ["shap"]


async def test_an_answer_that_nobody_asked_to_explain_is_as_it_was(served):
    answer = await served.service.infer(request(host(1)))
    assert "explanation" not in [o.name for o in answer.outputs]
    assert "explain" not in answer.parameters
    assert [r.explained for r in served.audit.records] == [None]


async def test_it_comes_beside_the_outputs_that_are_asked_for(served):
    answer = await served.service.infer(request(host(1), outputs=("score",), explain="shap"))
    assert [o.name for o in answer.outputs] == ["score", "explanation"]


@pytest.mark.parametrize(
    ("named", "answered"),
    [(("explanation", "score"), ["score", "explanation"]), (("explanation",), ["explanation"])],
)
async def test_a_request_may_name_the_output_of_its_explanation(served, named, answered):
    answer = await served.service.infer(request(host(1), host(2), outputs=named, explain="shap"))
    assert [o.name for o in answer.outputs] == answered
    assert [body["verdict"] for body in explained(answer)] == ["alert", "alert"]


@pytest.mark.parametrize(("named", "parameters"), [(("explanation",), {}), (("explanation",) * 2, {"explain": "shap"})])
async def test_an_explanation_that_nobody_asks_for_or_twice_is_an_unknown_output(served, named, parameters):
    with pytest.raises(BadRequest, match=r"'explanation'.* are unknown"):
        await served.service.infer(request(host(1), outputs=named, **parameters))


async def test_rows_of_several_variants_are_explained_by_the_one_that_judged_them(tmp_path, bundle):
    world = World(tmp_path)
    other = threat(tmp_path / "other", "2", -1.0)
    world.store.add(bundle)
    world.store.add(other)
    await world.service.apply(spec(bundle, variant(other, 50.0)))
    hosts = [host(i) for i in range(40)]
    answer = await world.service.infer(request(*hosts, level=2.0, outputs=("variant", "verdict"), explain="shap"))
    who, verdicts, _ = (o.data.tolist() for o in answer.outputs)
    assert set(who) == {b"stable", b"candidate"}
    for name, verdict, body in zip(who, verdicts, explained(answer), strict=True):
        assert (body["verdict"].encode(), body["attributions"]["level"] > 0) == (verdict, name == b"stable")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        pytest.param("why", "expected one of shap, rules, counterfactual", id="an unknown method"),
        pytest.param(True, "expected one of", id="no text"),
    ],
)
async def test_what_cannot_be_asked(served, asked, says):
    with pytest.raises(BadRequest, match=says):
        await served.service.infer(request(host(1), explain=asked))


async def test_a_model_without_a_score_says_that_there_is_no_verdict_to_explain(tmp_path):
    world = World(tmp_path)
    plain = threat(tmp_path / "plain", "1", score=None, operating_points={}, default_operating_point=None)
    world.store.add(plain)
    await world.service.apply(spec(plain))
    with pytest.raises(BadRequest, match=r"model 'threat' has no score.*leave it out"):
        await world.service.infer(tensors(1.0, explain="shap"))


async def test_more_rows_than_anybody_reads_are_refused(served):
    with pytest.raises(BadRequest, match=f"at most {MOST_ROWS} rows; send several requests"):
        await served.service.infer(tensors(*[1.0] * (MOST_ROWS + 1), explain="shap"))


async def test_plain_requests_go_on_while_one_is_explained_and_few_may_wait(served, gated):
    served.scorer._explanations = thread = ExplanationThread(queue=1)
    waiting = [asyncio.ensure_future(served.service.infer(request(host(n), explain="shap"))) for n in range(2)]
    await until_so(lambda: thread._bulkhead.under_way == 2)
    assert (await served.service.infer(request(host(3)))).parameters["source"] == "model"
    with pytest.raises(Overloaded, match="explanations has 2 runs under way"):
        await served.service.infer(request(host(4), explain="shap"))
    gated.opened.set()
    assert [explained(answer) for answer in await asyncio.gather(*waiting)] == [[{}], [{}]]
    found = {metric.name: values for metric, values in thread.metrics()}
    assert found["vedette_explanations_total"] == {("threat", "shap", "ok"): 2.0, ("threat", "shap", "refused"): 1.0}
    thread.close()


async def test_the_deadline_holds_and_the_refusal_says_what_to_do(served, gated):
    from msgspec.structs import replace

    served.scorer._explanations = thread = ExplanationThread(budget_s=2 * HANG_S)
    asking = asyncio.create_task(served.service.infer(replace(request(host(1), explain="shap"), deadline_s=HANG_S)))
    await until_so(lambda: gated.budgets)
    pass_time(HANG_S)
    with pytest.raises(DeadlineExceeded, match="allow more time, send fewer rows, or ask without"):
        await asking
    thread.close()
    (budget_s,) = gated.budgets
    assert budget_s <= HANG_S, "the explainer is told what is left"
    assert not served.audit.records, "no answer, no record"


async def test_rules_that_answer_for_the_model_say_which_of_them_hold(tmp_path):
    world = World(tmp_path)
    rules = b"thresholds:\n  - {id: loud, title: Loud, when: level > 1.0, severity: high}\n"
    ruled = threat(tmp_path / "ruled", "1", 1.0, fails_above=None, rule_files={"rules.yaml": rules})
    world.store.add(ruled)
    await world.service.apply(spec(ruled))
    world.serve("stable", model=_Broken())
    (body,) = explained(await world.service.infer(request(host(1), explain="shap")))
    assert body == {"method": "rules_answered", "verdict": "alert", "rules": ["loud"]}


class _Broken:
    """A model whose runtime fails, whatever it is asked."""

    def run(self, *_args):
        raise RuntimeError("the runtime is gone")
