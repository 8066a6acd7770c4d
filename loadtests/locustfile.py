"""The load test: users of the doors, a shape if one is asked for, and an exit status that says whether the objectives were met.

    locust -f loadtests/locustfile.py --headless --host http://127.0.0.1:8080 -u 16 -r 8 -t 60s HttpDoor GrpcDoor
    VEDETTE_LOAD_SHAPE=spike VEDETTE_LOAD_P99_MS=50 locust -f loadtests/locustfile.py --headless --host ... HttpDoor GrpcDoor
    locust -f loadtests/locustfile.py HttpDoor ...            # one door only

With VEDETTE_STREAM_SERVERS there is a third user, KafkaDoor, and a worker of the stream is expected to run.
`make load` does this with a server of its own (loadtests.run). Settings are loadtests.settings; what is sent, loadtests.payloads."""

from typing import Any, Final

import gevent
import orjson
from locust import LoadTestShape, events
from locust.stats import RequestStats, StatsEntry

from loadtests import verdict
from loadtests.objectives import Finding, Totals, asked, judge, not_asked, of_shape, read_objectives
from loadtests.shapes import at, shape_of
from loadtests.users import GRPC, HTTP, SETTINGS, GrpcDoor, HttpDoor, prepare
from serving.stream.settings import StreamSettings

__all__ = ["GrpcDoor", "HttpDoor"]

_KINDS: Final[dict[Any, str]] = {HttpDoor: "http", GrpcDoor: "grpc"}
_NAMES: Final[dict[str, tuple[str, ...]]] = {
    f"{said} {m}": (kind, f"{kind}/{m}") for said, kind in ((HTTP, "http"), (GRPC, "grpc")) for m in SETTINGS.models
}
"""By the name of a request for Locust: the kinds that it counts for."""
_HAS_STREAM: Final = bool(StreamSettings().servers)
_OBJECTIVES: Final = read_objectives(SETTINGS.objectives)

if _HAS_STREAM:
    from loadtests.kafka_door import KAFKA, KafkaDoor, stream_of
    from loadtests.kafka_door import events as stream_events

    __all__ += ["KafkaDoor"]
    _KINDS[KafkaDoor] = "kafka"
    _NAMES[KAFKA] = ("kafka",)

if SETTINGS.shape != "none":
    _SHAPE: Final = shape_of(SETTINGS.shape, users=SETTINGS.users, seconds=SETTINGS.seconds)

    class ChosenShape(LoadTestShape):  # type: ignore[misc]  # Locust has no types
        """The shape that VEDETTE_LOAD_SHAPE names."""

        def tick(self) -> tuple[int, float] | None:
            """Users and spawn rate now; None ends the test."""
            return at(_SHAPE, self.get_run_time())


def totals(stats: RequestStats, lag: int | None) -> list[Totals]:
    """Locust's figures of the infer requests of each door and of each model over it, and of the events, without those of the metadata.
    lag: the most events that waited at a time.

    Locust rounds latencies of 100 ms and more to two digits."""
    added: dict[str, StatsEntry] = {}
    for e in stats.entries.values():
        for kind in _NAMES.get(e.name, ()):
            added.setdefault(kind, StatsEntry(stats, kind, kind)).extend(e)
    return [
        Totals(
            kind,
            e.num_requests,
            e.num_failures,
            e.get_response_time_percentile(0.5) or 0.0,
            e.get_response_time_percentile(0.99) or 0.0,
            e.total_rps - e.total_fail_per_sec,
            lag if kind == "kafka" else None,
        )
        for kind, e in added.items()
    ]


def findings(environment: Any) -> tuple[Finding, ...]:
    """The objectives, judged on the figures of this run. Raises KeyError for a kind of request without objectives."""
    changed = {
        name: value for name in ("p99_ms", "failure_ratio", "min_requests") if (value := getattr(SETTINGS, name)) is not None
    }
    limits = {kind: o.model_copy(update=changed) for kind, o in of_shape(_OBJECTIVES, SETTINGS.shape).items()}
    lag = stream_of(environment).in_flight.most if _streams(environment) else None
    expected = asked(limits, [kind for user, kind in _KINDS.items() if user in environment.user_classes], SETTINGS.models)
    for kind in not_asked(limits, expected):
        print(f"not judged: {kind} has objectives, and this run does not ask it")
    return judge(limits, totals(environment.stats, lag), expected)


def _streams(environment: Any) -> bool:
    return _HAS_STREAM and KafkaDoor in environment.user_classes


@events.init.add_listener  # type: ignore[untyped-decorator]
def get_ready(environment: Any, **_: Any) -> None:
    """Read the payloads, then update the time of gevent's loop. The loop still has the time before the imports, so --run-time would end
    too early."""
    if environment.host and {HttpDoor, GrpcDoor} & {*environment.user_classes}:
        prepare(environment.host)
    if _streams(environment):
        stream_events()
        stream_of(environment)
    gevent.get_hub().loop.update_now()


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
def wait_for_verdicts(environment: Any, **_: Any) -> None:
    """Wait for the verdicts on the last events, which were sent before the users ended."""
    if _streams(environment):
        stream_of(environment).drain()


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def exit_status(environment: Any, **_: Any) -> None:
    """Set the exit status: 0 if every objective was met, else 1. A worker of a distributed run leaves this to the master."""
    if environment.parsed_options is not None and environment.parsed_options.worker:
        return
    found = findings(environment)
    for finding in found:
        print(f"{'met    ' if finding.is_met else 'NOT MET'} {finding.text}")
    if SETTINGS.findings is not None:
        SETTINGS.findings.write_bytes(orjson.dumps(verdict.as_json(found)))
    environment.process_exit_code = 0 if verdict.passed(found) else 1
