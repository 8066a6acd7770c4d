"""The load test: users of the doors, a shape if one is asked for, and an exit status that says whether the objectives were met.

    locust -f loadtests/locustfile.py --headless --host http://127.0.0.1:8080 -u 16 -r 8 -t 60s HttpDoor GrpcDoor
    VEDETTE_LOAD_SHAPE=spike VEDETTE_LOAD_P99_MS=50 locust -f loadtests/locustfile.py --headless --host ... HttpDoor GrpcDoor
    locust -f loadtests/locustfile.py HttpDoor ...            # one door only

`make load` does this with a server of its own (loadtests.run). Settings are loadtests.settings; what is sent, loadtests.payloads."""

from typing import Any, Final

import gevent
import orjson
from locust import LoadTestShape, events
from locust.stats import RequestStats

from loadtests import verdict
from loadtests.objectives import Finding, Totals, judge, of_shape, read_objectives
from loadtests.shapes import at, shape_of
from loadtests.users import GRPC, HTTP, SETTINGS, GrpcDoor, HttpDoor, prepare

__all__ = ["GrpcDoor", "HttpDoor"]

_KINDS: Final = {HttpDoor: "http", GrpcDoor: "grpc"}
_NAMES: Final = {HTTP: "http", GRPC: "grpc"}
_OBJECTIVES: Final = read_objectives(SETTINGS.objectives)

if SETTINGS.shape != "none":
    _SHAPE: Final = shape_of(SETTINGS.shape, users=SETTINGS.users, seconds=SETTINGS.seconds)

    class ChosenShape(LoadTestShape):  # type: ignore[misc]  # Locust has no types
        """The shape that VEDETTE_LOAD_SHAPE names."""

        def tick(self) -> tuple[int, float] | None:
            """Users and spawn rate now; None ends the test."""
            return at(_SHAPE, self.get_run_time())


def totals(stats: RequestStats) -> list[Totals]:
    """Locust's figures of the infer requests, without those of the metadata. Locust rounds latencies to two digits from 100 ms."""
    return [
        Totals(
            _NAMES[e.name],
            e.num_requests,
            e.num_failures,
            e.get_response_time_percentile(0.5) or 0.0,
            e.get_response_time_percentile(0.99) or 0.0,
            e.total_rps - e.total_fail_per_sec,
        )
        for e in stats.entries.values()
        if e.name in _NAMES
    ]


def findings(environment: Any) -> tuple[Finding, ...]:
    """The objectives, judged on the figures of this run."""
    changed = {
        name: value for name in ("p99_ms", "failure_ratio", "min_requests") if (value := getattr(SETTINGS, name)) is not None
    }
    limits = {kind: o.model_copy(update=changed) for kind, o in of_shape(_OBJECTIVES, SETTINGS.shape).items()}
    return judge(limits, totals(environment.stats), [_KINDS[u] for u in environment.user_classes if u in _KINDS])


@events.init.add_listener  # type: ignore[untyped-decorator]
def get_ready(environment: Any, **_: Any) -> None:
    """Read the payloads, then update the time of gevent's loop: it is still the time before the imports, so --run-time would end
    too early."""
    if environment.host:
        prepare(environment.host)
    gevent.get_hub().loop.update_now()


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def exit_status(environment: Any, **_: Any) -> None:
    """1 unless every objective was met. A worker of a distributed run leaves the judgement to the master."""
    if environment.parsed_options is not None and environment.parsed_options.worker:
        return
    found = findings(environment)
    for finding in found:
        print(f"{'met    ' if finding.is_met else 'NOT MET'} {finding.text}")
    if SETTINGS.findings is not None:
        SETTINGS.findings.write_bytes(orjson.dumps(verdict.as_json(found)))
    environment.process_exit_code = 0 if verdict.passed(found) else 1
