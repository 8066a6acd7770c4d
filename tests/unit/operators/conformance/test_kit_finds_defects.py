"""The kit passes a right server whole, and names the check for each way a server can be wrong."""

import json

import pytest

from operators.conformance.checks.catalogue import ALL
from operators.conformance.discovery import DiscoveryError, model_facts, model_names, server_facts
from operators.conformance.exchange import HttpCall, HttpReply, NoReply
from operators.conformance.report import as_json, summary
from operators.conformance.run import broken, plan, run
from operators.conformance.values import Level, Status
from tests.fakes.serving.simple_server import Defect, SimpleServer


def conform(defect: Defect | None = None, only: tuple[str, ...] = (), may_change: bool = False):
    send = SimpleServer(defect).send
    server = server_facts(send, has_http=True, has_grpc=False, may_change=may_change)
    models = [model_facts(send, server, name) for name in model_names(send, server, ())]
    return list(run(plan(ALL, server, models, only), server, lambda calls: tuple(map(send, calls))))


def is_infer(call: HttpCall) -> bool:
    return call.path.endswith("/infer")


def edit(**changes) -> Defect:
    """Change top-level fields of every inference answer."""

    def defect(call: HttpCall, reply: HttpReply) -> HttpReply:
        if not (is_infer(call) and reply.status == 200):
            return reply
        body = json.loads(reply.body)
        for key, change in changes.items():
            body[key] = change(body[key]) if callable(change) else change
        return HttpReply(200, reply.headers, json.dumps(body).encode())

    return defect


def each_output(change) -> Defect:
    return edit(outputs=lambda outputs: [change(dict(o)) for o in outputs])


def on_error(status: int | None = None, body: bytes | None = None) -> Defect:
    def defect(_: HttpCall, reply: HttpReply) -> HttpReply:
        if reply.status < 400:
            return reply
        return HttpReply(status or reply.status, reply.headers, reply.body if body is None else body)

    return defect


def closes_on_error(call: HttpCall, reply: HttpReply):
    return NoReply("RemoteDisconnected") if is_infer(call) and reply.status >= 400 else reply


def all_outputs_always(call: HttpCall, reply: HttpReply):
    if not (is_infer(call) and reply.status == 200):
        return reply
    body = json.loads(call.body or b"")
    body.pop("outputs", None)
    return SimpleServer().send(HttpCall("POST", call.path, json.dumps(body).encode()))


def test_a_right_server_passes_whole():
    results = conform()
    assert [r.check.id for r in broken(results)] == []
    assert summary(results)["pass"] > 90


@pytest.mark.parametrize(("defect", "found"), [
    pytest.param(edit(id=""), "http.infer.id", id="the id is lost"),
    pytest.param(edit(model_name="other"), "http.infer.model-name", id="another model is named"),
    pytest.param(edit(model_version="9"), "http.infer.version-path", id="another version answers"),
    pytest.param(edit(outputs=lambda o: o[:1]), "http.infer.all-outputs", id="an output is missing"),
    pytest.param(edit(outputs=lambda o: sorted(o, key=lambda x: x["name"])),
                 "http.infer.output-order", id="the order asked for is ignored"),
    pytest.param(all_outputs_always, "http.infer.subset", id="outputs nobody asked for"),
    pytest.param(each_output(lambda o: {**o, "datatype": "INT64"}),
                 "http.infer.as-declared", id="another datatype than declared"),
    pytest.param(each_output(lambda o: {**o, "shape": [16]}), "http.infer.as-declared", id="another shape than declared"),
    pytest.param(each_output(lambda o: {**o, "data": o["data"][:-1]}),
                 "http.infer.answers", id="data that do not fill the shape"),
    pytest.param(each_output(lambda o: {**o, "data": [e + 0.5 for e in o["data"]]}),
                 "http.infer.answers", id="fractions in an integer tensor"),
    pytest.param(each_output(lambda o: {**o, "data": [e + 1 for e in o["data"]]}),
                 "http.infer.values", id="the sum is off by one"),
    pytest.param(on_error(status=500), "http.error.malformed-json", id="the client's mistake is called the server's"),
    pytest.param(on_error(body=b'{"detail": "no"}'), "http.error.missing-input", id="the error is under another key"),
    pytest.param(on_error(body=b'{"error": {"text": "no"}}'), "http.error.unknown-model", id="the error is no string"),
    pytest.param(on_error(body=b"<html>"), "http.model.unknown-model", id="the error is a page"),
    pytest.param(closes_on_error, "http.error.too-few-elements", id="the connection is closed instead of an answer"),
    pytest.param(on_error(status=422), "http.error.empty-body-status", id="an unusual status"),
])  # fmt: skip
def test_a_defect_is_found(defect, found):
    assert found in {r.check.id for r in broken(conform(defect))}


def test_a_server_that_accepts_everything_fails_most_error_checks():
    def accepts(call: HttpCall, reply: HttpReply):
        good = json.dumps({"model_name": "simple", "model_version": "1", "outputs": []}).encode()
        return HttpReply(200, reply.headers, good) if is_infer(call) and reply.status >= 400 else reply

    failed = {r.check.id for r in broken(conform(accepts), Level.MUST)}
    assert len([i for i in failed if i.startswith("http.error.")]) >= 25


def test_unknown_is_not_passed_a_model_that_answers_nothing_skips_what_cannot_be_judged():
    def refuses(call: HttpCall, reply: HttpReply):
        return HttpReply(503, {}, b'{"error": "later"}') if is_infer(call) else reply

    results = {r.check.id: r for r in conform(refuses)}
    assert results["http.infer.answers"].status is Status.FAIL
    assert results["http.infer.id"].status is Status.SKIP


def test_a_cycle_of_load_and_unload_is_run_only_when_allowed():
    (kept,) = conform(only=("http.repository.cycle",))
    assert kept.status is Status.SKIP
    (run_,) = conform(only=("http.repository.cycle",), may_change=True)
    assert run_.status is Status.FAIL  # this server ignores unload, and is found out


def test_only_chooses_a_check_or_a_group():
    assert [r.check.id for r in conform(only=("http.infer.id",))] == ["http.infer.id"]
    assert {r.check.id.rpartition(".")[0] for r in conform(only=("http.health",))} == {"http.health"}


def test_a_server_without_an_index_asks_for_a_name():
    def no_index(call: HttpCall, reply: HttpReply):
        return HttpReply(404, {}, b"{}") if "repository" in call.path else reply

    with pytest.raises(DiscoveryError, match="--model NAME"):
        conform(no_index)


def test_a_door_that_is_closed_is_said_so():
    with pytest.raises(DiscoveryError, match="does not answer"):
        conform(lambda call, reply: NoReply("ConnectionRefusedError"))


def test_results_are_json_with_counts_that_add_up():
    document = as_json(conform(edit(id="")))
    counts = document["summary"]
    assert counts["pass"] + counts["fail"] + counts["skip"] == len(document["checks"])
    json.dumps(document)


def test_every_check_has_an_id_of_its_own_and_says_what_it_requires():
    assert len({c.id for c in ALL}) == len(ALL)
    assert all(c.requires and c.section for c in ALL)
