"""The load test: users of both doors, a shape if one is asked for, and an exit status that says whether the objectives were met.

    locust -f loadtests/locustfile.py --headless --host http://127.0.0.1:8080 -u 16 -r 8 -t 60s
    VEDETTE_LOAD_SHAPE=spike VEDETTE_LOAD_P99_MS=50 locust -f loadtests/locustfile.py --headless --host ...
    locust -f loadtests/locustfile.py HttpDoor ...            # one door only

Settings are loadtests.settings; what is sent, loadtests.payloads."""

from typing import Any

import gevent
from locust import events
from locust.stats import RequestStats

from loadtests.objectives import Finding, Objective, Totals, judge
from loadtests.shapes import STAGES, Stages
from loadtests.users import GRPC, HTTP, SETTINGS, GrpcDoor, HttpDoor, prepare

__all__ = ["GrpcDoor", "HttpDoor"]

_NAMES = {HttpDoor: HTTP, GrpcDoor: GRPC}

if SETTINGS.shape != "none":

    class ChosenShape(Stages):
        """The stages that VEDETTE_LOAD_SHAPE names."""

        stages = STAGES[SETTINGS.shape]


def totals(stats: RequestStats) -> list[Totals]:
    """Locust's figures of the infer requests, without those of the metadata."""
    entries = [e for e in stats.entries.values() if e.name in _NAMES.values()]
    return [Totals(e.name, e.num_requests, e.num_failures, e.get_response_time_percentile(0.99) or 0.0) for e in entries]


def findings(environment: Any) -> tuple[Finding, ...]:
    """The objectives, judged on the figures of this run."""
    objective = Objective(SETTINGS.p99_ms, SETTINGS.failure_ratio, SETTINGS.min_requests)
    expected = [_NAMES[u] for u in environment.user_classes if u in _NAMES]
    return judge(objective, totals(environment.stats), expected)


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
    environment.process_exit_code = 0 if all(f.is_met for f in found) else 1
