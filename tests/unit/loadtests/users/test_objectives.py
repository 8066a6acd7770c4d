"""When a load test has passed, and what its verdict looks like."""

import orjson
import pytest

from loadtests import verdict
from loadtests.objectives import (
    Objective,
    ObjectivesError,
    Totals,
    asked,
    judge,
    not_asked,
    of_shape,
    parse_objectives,
    read_objectives,
)
from loadtests.shapes import SHAPES

LIMITS = {
    "http": Objective(p50_ms=10, p99_ms=50, failure_ratio=0.01, min_requests=100, min_per_s=20),
    "kafka": Objective(failure_ratio=0, max_lag=500),
}
GOOD = {"kind": "http", "requests": 1000, "failures": 10, "p50_ms": 10.0, "p99_ms": 50.0, "per_s": 20.0}
STREAM = {"kind": "kafka", "requests": 1000, "failures": 0, "p50_ms": 10.0, "p99_ms": 50.0, "per_s": 20.0, "lag": 500}


@pytest.mark.parametrize(
    ("totals", "missed", "said"),
    [
        pytest.param(GOOD, [], "", id="at the limits is within them"),
        pytest.param(GOOD | {"failures": 11}, ["failure_ratio"], "missed by 0.10 points", id="too many failures"),
        pytest.param(GOOD | {"p50_ms": 10.1}, ["p50_ms"], "missed by 0.1 ms", id="slow for half of them"),
        pytest.param(GOOD | {"p99_ms": 75.0}, ["p99_ms"], "missed by 25.0 ms", id="slow for one of a hundred"),
        pytest.param(GOOD | {"per_s": 15.0}, ["min_per_s"], "missed by 5.0 a second", id="too few a second"),
        pytest.param(GOOD | {"p99_ms": 51.0, "per_s": 1.0}, ["p99_ms", "min_per_s"], "", id="each objective by itself"),
        pytest.param(GOOD | {"requests": 99, "failures": 0}, ["min_requests"], "too few", id="few requests prove nothing"),
        pytest.param(STREAM, [], "", id="a queue at its limit"),
        pytest.param(STREAM | {"lag": 501}, ["max_lag"], "missed by 1 events", id="a queue that grows too long"),
        pytest.param(STREAM | {"failures": 1}, ["failure_ratio"], "1 of 1000", id="one event without a verdict"),
    ],
)
def test_judgement(totals, missed, said):
    found = judge(LIMITS, [Totals(**totals)], [totals["kind"]])
    assert [f.what for f in found if not f.is_met] == missed
    assert said in " ".join(f.text for f in found if not f.is_met)
    assert verdict.passed(found) is (not missed)


def test_silence_is_no_success():
    (found,) = judge(LIMITS, [], ["http"])
    assert not found.is_met
    assert "not one request" in found.text
    assert not verdict.passed([])


def test_each_kind_is_judged_by_itself():
    found = judge(LIMITS, [Totals(**GOOD), Totals(**STREAM | {"lag": 900})], ["http", "kafka"])
    assert [(f.kind, f.what) for f in found if not f.is_met] == [("kafka", "max_lag")]


def test_a_model_is_judged_by_its_own_limits_beside_all():
    limits = LIMITS | {"http/slow": Objective(p99_ms=500), "http/quick": Objective(p99_ms=5)}
    of = {
        f"http/{m}": Totals(**GOOD | {"kind": f"http/{m}", "p99_ms": p99, "failures": 0})
        for m, p99 in (("slow", 400.0), ("quick", 6.0))
    }
    other = Totals(**GOOD | {"kind": "http/other", "p99_ms": 9000.0, "failures": 1000})
    expected = asked(limits, ["http"], ["slow", "quick", "other"])
    found = judge(limits, [Totals(**GOOD), *of.values(), other], expected)
    assert expected == ("http", "http/slow", "http/quick")
    assert [(f.kind, f.what) for f in found if not f.is_met] == [("http/quick", "p99_ms")]
    assert {f.kind for f in found} == {*expected}, "a model without limits counts for its door only"


def test_a_model_that_is_asked_and_never_answers_has_not_met_its_limits():
    limits = LIMITS | {"http/flows": Objective(p99_ms=5)}
    found = judge(limits, [Totals(**GOOD)], asked(limits, ["http"], ["flows"]))
    assert [(f.kind, f.what) for f in found if not f.is_met] == [("http/flows", "min_requests")]


def test_limits_of_a_model_that_is_not_asked_are_named_and_not_judged():
    limits = LIMITS | {"http/flows": Objective(), "grpc/flows": Objective(), "http/dns": Objective()}
    expected = asked(limits, ["http"], ["flows"])
    assert expected == ("http", "http/flows")
    assert not_asked(limits, expected) == ("grpc/flows", "http/dns")


def test_the_shipped_objectives_name_every_shape_and_kind():
    objectives = read_objectives(None)
    assert objectives.keys() == {"default", *SHAPES}
    for shape in SHAPES:
        limits = of_shape(objectives, shape)
        assert limits.keys() == {"http", "grpc", "kafka"}
        assert all(limit.p99_ms and limit.p50_ms and limit.min_per_s for limit in limits.values())
        assert limits["kafka"].failure_ratio == 0
        assert limits["kafka"].max_lag


def test_what_a_file_does_not_name_is_judged_by_its_default():
    objectives = parse_objectives("{default: {http: {p99_ms: 1}, grpc: {p99_ms: 2}}, soak: {http: {p99_ms: 3}}}", "f")
    assert {kind: limit.p99_ms for kind, limit in of_shape(objectives, "soak").items()} == {"http": 3, "grpc": 2}
    assert of_shape(objectives, "none")["http"].p99_ms == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("{default: {http: {p99: 1}}}", "mine.yaml: default.http.p99:", id="an unknown limit"),
        pytest.param("{default: {http: {p99_ms: 0}}}", "default.http.p99_ms: ", id="a limit that nothing meets"),
        pytest.param("{default: {http: {failure_ratio: 1.1}}}", "default.http.failure_ratio: ", id="more than all"),
        pytest.param("{default: {http: {min_requests: 0}}}", "default.http.min_requests: ", id="silence would pass"),
        pytest.param(
            "{default: {htp: {p99_ms: 1}}}", "default.htp: is no kind; expected http, grpc, kafka, or http/MODEL", id="no kind"
        ),
        pytest.param("{default: {http: {}}, soak: {http/: {}}}", "soak.http/: is no kind", id="a model without a name"),
        pytest.param("{default: {kafka/flows: {}}}", "kafka/flows: is no kind", id="events are all for one model"),
        pytest.param("{spike: {}}", "has no `default`", id="no default"),
        pytest.param("[", "is not YAML", id="no YAML"),
        pytest.param("", "the file: ", id="empty"),
    ],
)
def test_objectives_that_cannot_be_used_are_refused(text, said):
    with pytest.raises(ObjectivesError, match=r"^mine\.yaml: ") as told:
        parse_objectives(text, "mine.yaml")
    assert said in str(told.value)


def test_the_table_says_by_how_much_an_objective_is_missed():
    found = judge(LIMITS, [Totals(**GOOD | {"failures": 40, "p99_ms": 75.0, "per_s": 15.0})], ["http"])
    lines = {line.split()[1]: line for line in verdict.table(found).splitlines()[1:]}
    assert "FAIL  3 points" in lines["failure_ratio"]
    assert lines["p50_ms"].split()[-1] == "pass"
    assert "<= 50 ms" in lines["p99_ms"]
    assert lines["p99_ms"].endswith("FAIL  25 ms (50 %)")
    assert lines["min_per_s"].endswith("FAIL  5 /s (25 %)")


def test_findings_survive_their_file_and_stand_first_in_the_page():
    found = judge(LIMITS, [Totals(**GOOD | {"p99_ms": 75.0})], ["http"])
    assert verdict.from_json(orjson.dumps(verdict.as_json(found)).decode()) == found
    page = verdict.with_verdict("<html><body class='x'><p>Locust</p></body></html>", "spike", found)
    assert page.startswith("<html><body class='x'><section id='verdict'>")
    assert "spike: NOT every objective is met" in page
    assert page.index("75 ms") < page.index("Locust")
