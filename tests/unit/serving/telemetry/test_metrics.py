"""What is counted, under which names, and what counting costs."""

import asyncio
import os
from collections import Counter

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families

from serving.access.followed_files import AccessFiles
from serving.access.forwarded import TrustedProxies
from serving.access.gate import Gate
from serving.audit.health import AuditHealth
from serving.audit.keys.keyring import Keyring
from serving.clock import SystemClock
from serving.doors.client_share import ClientShare
from serving.doors.counts import AllDoorCounts
from serving.doors.tls.certificates import Certificates
from serving.doors.tls.files import TlsFiles
from serving.doors.tls.handshakes import Handshakes
from serving.errors import BadRequest, DeadlineExceeded, Internal, NotFound, Overloaded, Unavailable
from serving.features.near.near_cache import NearCache
from serving.scoring.explained import ExplanationThread
from serving.scoring.mirror import Mirror
from serving.scoring.protection import unprotected
from serving.stream.counts import StreamCounts
from serving.telemetry.counts import GONE
from serving.telemetry.evidence import OTHER
from serving.telemetry.metrics import CONTENT_TYPE, AuditCounts, ServingMetrics, outcome_of
from serving.telemetry.names import METRICS
from serving.telemetry.tracing.tracer import Tracer
from tests.counting import calls_in
from tests.fakes.serving.authority import Authority

pytestmark = pytest.mark.heavy

LABELS = {"model": "flows", "version": "1", "variant": "stable", "door": "http"}


def samples(metrics: ServingMetrics) -> dict[tuple[str, frozenset], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(metrics: ServingMetrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, frozenset({"replica": "r", **labels}.items())))


@pytest.fixture
def metrics() -> ServingMetrics:
    return ServingMetrics("r", now=lambda: 1_700_000_000.0)


def test_an_answer_is_counted_once_everywhere(metrics):
    handle = metrics.for_model("flows", "1", "stable", "http")
    handle.answered(
        0.0012,
        3,
        operating_point="siem_alerting",
        verdicts=(1, 0, 2),
        degraded_rows=1,
        feature_s=0.0004,
        model_s=0.00001,
        feature_age_ms=4000.0,
    )
    assert value(metrics, "vedette_requests_total", **LABELS, outcome="ok") == 1
    assert value(metrics, "vedette_rows_total", **LABELS) == 3
    assert value(metrics, "vedette_degraded_rows_total", **LABELS) == 1
    verdicts = {
        v: value(metrics, "vedette_verdicts_total", **LABELS, operating_point="siem_alerting", verdict=v)
        for v in ("benign", "investigate", "alert")
    }
    assert verdicts == {"benign": 1, "investigate": 0, "alert": 2}
    assert value(metrics, "vedette_feature_age_seconds_sum", **LABELS) == 4.0
    for stage, seconds in (("total", 0.0012), ("features", 0.0004), ("model", 0.00001)):
        assert value(metrics, "vedette_request_seconds_count", **LABELS, stage=stage) == 1
        assert value(metrics, "vedette_request_seconds_sum", **LABELS, stage=stage) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("latency_s", "le", "expected"),
    [
        pytest.param(0.001, "0.001", 1, id="a bound is part of its bucket"),
        pytest.param(0.0011, "0.001", 0, id="above the bound is not"),
        pytest.param(9.0, "2.0", 0, id="a very slow one is in no finite bucket"),
        pytest.param(9.0, "+Inf", 1, id="but in the last"),
    ],
)
def test_latency_buckets(metrics, latency_s, le, expected):
    metrics.for_model("flows", "1", "stable", "http").answered(latency_s, 1)
    assert value(metrics, "vedette_request_seconds_bucket", **LABELS, stage="total", le=le) == expected


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        pytest.param(BadRequest("x"), "client_error", id="a wrong request is the client's"),
        pytest.param(NotFound("x"), "client_error", id="so is an unknown model"),
        pytest.param(Overloaded("x"), "refused", id="overload is a refusal"),
        pytest.param(Unavailable("x"), "refused", id="not ready is a refusal"),
        pytest.param(DeadlineExceeded("x"), "refused", id="a passed deadline is a refusal"),
        pytest.param(Internal("x"), "failed", id="a defect is ours"),
    ],
)
def test_errors_are_counted_by_whose_they_are(metrics, error, outcome):
    metrics.for_unknown("grpc").refused(outcome_of(error))
    unknown = dict.fromkeys(("model", "version", "variant"), "_unknown")
    assert value(metrics, "vedette_requests_total", **unknown, door="grpc", outcome=outcome) == 1
    assert value(metrics, "vedette_requests_total", **unknown, door="grpc", outcome="ok") == 0


@pytest.fixture
def guarded(tmp_path):
    """What is counted at doors that have a policy, an issuer of tokens and TLS."""
    callers = "[{roles: [scorer], claims: {sub: s}}]"
    issuer = f"{{name: corp, issuer: 'https://corp.example', audiences: [vedette], keys: keys.json, callers: {callers}}}"
    (tmp_path / "keys.json").write_text('{"keys": []}')
    (tmp_path / "access.yaml").write_text(f"version: 1\nroles: {{scorer: [{{verbs: [infer]}}]}}\nissuers: [{issuer}]\n")
    files = AccessFiles(tmp_path / "access.yaml")
    files.start()
    certificate, key = Authority().issue().write(tmp_path).paths
    loop = asyncio.new_event_loop()
    handshakes = Handshakes("http", 1, loop, ClientShare(1))
    yield Gate(files.policy, files.keys, random=os.urandom), files, Certificates.open(TlsFiles(certificate, key)), handshakes
    loop.close()


def test_every_declared_metric_is_scraped_and_nothing_else(metrics, guarded, tmp_path):
    for source in guarded:
        metrics.watch(source.metrics)
    metrics.watch(unprotected().metrics)
    metrics.watch(NearCache(1).metrics)
    metrics.watch(TrustedProxies(()).metrics)
    metrics.watch(AuditHealth(Keyring(tmp_path / "audit.pem")).metrics)
    metrics.watch(ExplanationThread().metrics)
    metrics.watch(StreamCounts().metrics)
    metrics.watch(AllDoorCounts().metrics)
    tracer = Tracer(0.0, "http://127.0.0.1:1")
    tracer.close()
    metrics.watch(tracer.metrics)
    metrics.watch(
        Mirror(
            None, SystemClock(), metrics, executor=None, max_copies=1, max_rows=1, deadline_s=1.0, feature_timeout_s=1.0
        ).metrics
    )
    metrics.for_model("flows", "1", "stable", "http").answered(0.001, 1)
    scraped = {f.name for f in text_string_to_metric_families(metrics.render().decode())}
    ours = {name for name in scraped if name.startswith("vedette_")}
    assert ours == {m.name.removesuffix("_total") for m in METRICS}
    assert "process_resident_memory_bytes" in scraped
    assert CONTENT_TYPE.startswith("text/plain")


def test_audit_and_loaded_models_are_read_at_the_scrape(metrics):
    metrics.watch_audit(lambda: AuditCounts(7, 2, 1, is_failing=True))
    metrics.set_loaded((("flows", "1", "stable", "sha256:b", "sha256:r"),))
    metrics.features_defaulted("flows_v1", "too_old", 4)
    assert value(metrics, "vedette_audit_records_total", outcome="written") == 7
    assert value(metrics, "vedette_audit_records_total", outcome="dropped") == 2
    assert value(metrics, "vedette_audit_records_total", outcome="refused") == 1
    assert value(metrics, "vedette_audit_failing") == 1
    assert value(metrics, "vedette_features_defaulted_total", feature_service="flows_v1", reason="too_old") == 4
    info = {"model": "flows", "version": "1", "variant": "stable", "bundle": "sha256:b", "revision": "sha256:r"}
    assert value(metrics, "vedette_model_info", **info) == 1
    assert value(metrics, "vedette_start_time_seconds") == 1_700_000_000.0
    metrics.set_loaded(())
    assert value(metrics, "vedette_model_info", **info) is None


def test_replicas_that_share_a_port_tell_themselves_apart():
    metrics = ServingMetrics(replica="r1")
    metrics.for_model("flows", "1", "stable", "http").answered(0.001, 1)
    assert value(metrics, "vedette_rows_total", **LABELS, replica="r1") == 1


def test_counting_an_answer_is_a_few_dozen_calls_and_no_more_after_thousands(metrics):
    def count() -> None:
        metrics.for_model("flows", "1", "stable", "http").answered(
            0.0012, 1, operating_point="p", verdicts=(1, 0, 0), feature_s=0.0004, model_s=0.00001, feature_age_ms=3.0
        )

    count()
    few = calls_in(count)
    for _ in range(2000):
        count()
    assert calls_in(count) == few < 60


def load(metrics, *revisions: str, version: str = "1") -> None:
    metrics.set_loaded([("flows", version, "stable", "bundle", revision) for revision in revisions])


def test_a_revision_that_was_just_taken_away_is_still_told_and_goes_on_where_it_stood(metrics):
    for number in range(GONE + 1):
        metrics.evidence("flows", "stable", f"r{number}").live.failed()
        load(metrics, f"r{number}")
    evidence = {"model": "flows", "variant": "stable", "route": "live"}
    assert value(metrics, "vedette_evidence_requests_total", revision="r0", **evidence) == 1
    metrics.evidence("flows", "stable", "r0").live.failed()
    assert value(metrics, "vedette_evidence_requests_total", revision="r0", **evidence) == 2


def test_revisions_long_gone_are_forgotten_and_the_page_does_not_grow(metrics):
    sizes = []
    for number in range(5 * GONE):
        metrics.evidence("flows", "stable", f"r{number:03}")
        metrics.for_model("flows", str(number), "stable", "http").refused("refused")
        load(metrics, f"r{number:03}", version=str(number))
        if (number + 1) % GONE == 0:
            sizes.append(len(metrics.render()))
    revisions = {dict(labels)["revision"] for name, labels in samples(metrics) if name == "vedette_evidence_entities_total"}
    assert revisions == {f"r{number:03}" for number in range(4 * GONE - 1, 5 * GONE)}
    assert sizes[-1] < 1.05 * sizes[1]


def swap(metrics, model: str, number: int) -> None:
    """A swap as of a rollout: a candidate stands beside stable, is mirrored, answers, and its number is new."""
    stable, candidate, version = f"{model}-{number}", f"{model}-{number + 1}", str(number)
    metrics.set_loaded(
        [(model, version, "stable", "bundle", stable), (model, version, "candidate", "bundle", candidate)]
    )  # fmt: skip
    metrics.evidence(model, "stable", stable)
    evidence = metrics.evidence(model, "candidate", candidate)
    evidence.paired(stable, [("benign", "benign"), ("benign", "alert"), ("alert", "alert")])
    evidence.scored([0.1, 0.5, 0.9])
    metrics.mirrored(model, "candidate", "scored")
    metrics.triaged(model, version, "candidate", {"ended": 1, "passed": 1})
    metrics.ruled(model, version, "candidate", "model", [["rule"]])
    metrics.suppressed(model, ["office"])
    for variant in ("stable", "candidate"):
        metrics.for_model(model, version, variant, "http").answered(0.001, 3, "siem_alerting", (1, 1, 1), model_s=0.0005)


def series_of(metrics) -> dict[str, int]:
    return Counter(name for name, _ in samples(metrics))


def test_the_page_of_many_swaps_is_bounded_by_what_is_loaded_and_the_last_that_were(metrics):
    """Each model fills its room of GONE revisions; then its page is as long as it will ever be, in every family."""
    for number in range(4 * GONE):
        swap(metrics, "flows", number)
        if number == 2 * GONE:
            full, size = series_of(metrics), len(metrics.render())
    assert series_of(metrics) == full
    assert len(metrics.render()) < 1.02 * size


def test_a_candidate_that_stays_while_stable_changes_has_its_pairs_with_revisions_long_gone_as_one(metrics):
    shadow = metrics.evidence("flows", "shadow", "s")
    for number in range(4 * GONE):
        stable = f"r{number:03}"
        metrics.evidence("flows", "stable", stable)
        metrics.set_loaded([("flows", "1", "stable", "bundle", stable), ("flows", "1", "shadow", "bundle", "s")])
        shadow.paired(stable, [("benign", "alert")])
    pairs = {
        dict(labels)["against"]: count
        for (name, labels), count in samples(metrics).items()
        if name == "vedette_evidence_pairs_total"
    }
    kept = [f"r{number:03}" for number in range(3 * GONE - 1, 4 * GONE)]
    assert pairs == {OTHER: 3 * GONE - 1, **dict.fromkeys(kept, 1)}, (
        "the sum of all pairs, which a rollout counts by, never falls"
    )


def test_of_models_that_are_gone_the_last_ones_are_told(metrics):
    for number in range(3 * GONE):
        swap(metrics, f"m{number:03}", 1)
    metrics.set_loaded([])
    last = {f"m{number:03}" for number in range(2 * GONE, 3 * GONE)}
    told = {(name, dict(labels).get("model")) for name, labels in samples(metrics)}
    assert {model for _, model in told} == {None, *last}
    assert {("vedette_suppressed_verdicts_total", model) for model in last} < told, "what was just taken away is still told"


def test_what_is_loaded_and_what_has_no_model_is_never_forgotten(metrics):
    metrics.for_unknown("http").refused("client_error")
    metrics.evidence("other", "stable", "kept").live.failed()
    metrics.for_model("other", "1", "stable", "http").refused("refused")
    for number in range(3 * GONE):
        metrics.evidence("flows", "stable", f"r{number}")
        metrics.set_loaded([("flows", "1", "stable", "b", f"r{number}"), ("other", "1", "stable", "b", "kept")])
    assert (
        value(metrics, "vedette_evidence_requests_total", model="other", variant="stable", route="live", revision="kept") == 1
    )
    unknown = {"model": "_unknown", "version": "_unknown", "variant": "_unknown", "door": "http"}
    assert value(metrics, "vedette_requests_total", outcome="client_error", **unknown) == 1
    assert value(metrics, "vedette_requests_total", outcome="refused", **{**LABELS, "model": "other"}) == 1


def test_the_newest_trace_of_each_bucket_of_a_latency_is_its_exemplar_in_openmetrics_and_in_no_classic_page(metrics):
    handle = metrics.for_model("flows", "1", "stable", "http")
    handle.answered(0.0012, 1, model_s=0.00001, trace_id="a" * 32)
    handle.answered(0.0013, 1, model_s=0.00001, trace_id="b" * 32)
    handle.answered(0.3, 1)
    families = list(open_families(metrics.render_open().decode()))
    found = {
        (s.labels["stage"], s.labels["le"]): s.exemplar
        for family in families
        for s in family.samples
        if s.name == "vedette_request_seconds_bucket" and s.exemplar is not None
    }
    assert {bucket: (e.labels, e.value) for bucket, e in found.items()} == {
        ("total", "0.0025"): ({"trace_id": "b" * 32}, 0.0013),
        ("model", "0.0001"): ({"trace_id": "b" * 32}, 0.00001),
    }
    assert b"trace_id" not in metrics.render()
    classic = {
        (name, labels): value for (name, labels), value in samples(metrics).items() if name.startswith("vedette_request")
    }
    assert classic == {
        (s.name, frozenset(s.labels.items())): s.value
        for family in families
        for s in family.samples
        if s.name.startswith("vedette_request")
    }
