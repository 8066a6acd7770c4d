"""What metrics and readiness say of the breakers, bulkheads and refusals of one replica."""

from prometheus_client.parser import text_string_to_metric_families

from serving.resilience.breaker import Breakers, BreakerState
from serving.resilience.bulkhead import Bulkheads
from serving.scoring.protection import Protection, unprotected
from serving.telemetry.metrics import ServingMetrics

STABLE = ("m", "1", "stable", "sha256:a")


def protection(**changes) -> Protection:
    return Protection(Breakers(), Bulkheads(threads=1, queue=1), 2.0, 0.05, **changes)


def fail(guard, times=10, took_s=0.01):
    for _ in range(times):
        ticket = guard.ask(0.0)
        if ticket is not None:
            guard.failed(ticket, took_s, 0.0)


def scraped(guarded):
    metrics = ServingMetrics("r")
    metrics.watch(guarded.metrics)
    return {
        (s.name, *(v for k, v in sorted(s.labels.items()) if k != "replica")): s.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for s in family.samples
    }


def test_a_breaker_is_seen_before_it_ever_opens_and_after():
    guarded = protection()
    guard = guarded.features()
    before = scraped(guarded)
    assert before["vedette_breaker_state", "features"] == 0
    assert before["vedette_breaker_changes_total", "features", "open"] == 0
    fail(guard)
    after = scraped(guarded)
    assert after["vedette_breaker_state", "features"] == 2
    assert after["vedette_breaker_changes_total", "features", "open"] == 1
    (line,) = guarded.degraded()
    assert line.startswith("features: breaker open, 10 of the last 10 calls failed; rules answer")


def test_refusals_are_counted_by_reason():
    guarded = protection()
    guarded.refused_late, guarded.refused_by_breaker = 3, 2
    found = scraped(guarded)
    assert {reason: found["vedette_refusals_total", reason] for reason in ("late", "breaker", "queue")} == {
        "late": 3,
        "breaker": 2,
        "queue": 0,
    }


def test_a_model_keeps_its_breaker_and_another_revision_begins_anew():
    guarded = protection()
    first = guarded.model(*STABLE)
    assert guarded.model(*STABLE) is first
    fail(first)
    promoted = guarded.model(*STABLE[:3], "sha256:b")
    assert promoted.is_closed
    assert dict(guarded.breakers.states()) == {"model:m/1/stable": BreakerState.CLOSED}


def test_models_that_are_gone_are_forgotten():
    guarded = protection()
    guarded.features()
    fail(guarded.model(*STABLE))
    guarded.model("other", "1", "stable", "sha256:c")
    guarded.keep([("other", "1", "stable", "sha256:c")])
    assert list(guarded.breakers.states()) == ["features", "model:other/1/stable"]
    assert guarded.degraded() == ()


def test_switched_off_no_breaker_opens():
    guarded = protection(are_breakers_on=False)
    fail(guarded.features(), 1000, took_s=9.0)
    assert guarded.features().is_closed
    assert unprotected().degraded() == ()
