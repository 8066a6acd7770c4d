"""What was not measured is not met: attacks that were none, intervals that were never given, answers that say nothing, late events."""

import json
import socket
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from loadtests.bench.benchmarks.computed import late_labels
from loadtests.bench.benchmarks.hostile import attacks
from loadtests.bench.benchmarks.kept_rows.seen_writes import SeenWrites, seen_rows
from loadtests.bench.errors import BenchError
from loadtests.bench.load import attackers
from loadtests.bench.worlds import stream_load
from loadtests.bench.worlds.late_labels import Coverage
from serving.stream.ports import OutRecord


@pytest.mark.parametrize(
    ("program", "said"),
    [
        pytest.param("raise SystemExit(1)", "ended with status 1 after 0 steps", id="it failed"),
        pytest.param("print(0)", "ended with status 0 after 0 steps", id="it did nothing"),
    ],
)
def test_an_attack_that_was_none_is_not_withstood(program: str, said: str):
    with pytest.raises(BenchError, match=said), attacks.attacking((sys.executable, "-c", program), "pings"):
        pass


def test_an_attack_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attacks, "PATIENCE_S", 0.1)
    with (
        pytest.raises(BenchError, match="the attack pings did not end"),
        attacks.attacking((sys.executable, "-c", "import time; time.sleep(600)"), "pings"),
    ):
        pass


def test_an_attack_goes_on_while_clients_are_measured():
    with attacks.attacking((sys.executable, "-c", "print(3)"), "pings"):
        pass


def test_slow_heads_go_on_where_a_server_turns_connections_away():
    with socket.socket() as nobody:
        nobody.bind((attackers.HOST, 0))
        assert len(list(attackers.slow_heads(nobody.getsockname()[1], 0))) == attackers.CONNECTIONS


def test_a_rule_that_never_gives_an_interval_misses_its_target(monkeypatch: pytest.MonkeyPatch):
    never = Coverage(0, 0, float("nan"), float("nan"))
    monkeypatch.setattr(late_labels, "replay", lambda *_, **__: {"weighted": {"recall": never}})
    (row,) = [row for row in late_labels._coverage(40) if row.name == "late_labels/weighted/plain/recall/held"]
    assert (row.is_met, row.problem) == (False, "none of 40 replays gave an interval")


def test_without_an_answer_no_write_was_seen_soon():
    def seen(checks: int) -> SeenWrites:
        none = np.zeros(3)
        return SeenWrites(none, none, none, checks, 0, cuts=1)

    assert next(
        r for r in seen_rows([seen(9)], [seen(9)], [seen(9)], 9) if r.name.endswith("kept/seen-writes/behind/p99")
    ).is_met
    for kept, read in ((0, 9), (9, 0)):
        with pytest.raises(BenchError, match="no answer had a feature"):
            list(seen_rows([seen(kept)], [seen(read)], [seen(9)], 9))


class _Message:
    def __init__(self, value: bytes) -> None:
        self._value = value

    def error(self) -> None:
        return None

    def value(self) -> bytes:
        return self._value


def test_events_of_a_worker_go_on_in_event_time_from_load_to_load(monkeypatch: pytest.MonkeyPatch):
    """An event behind the newest one by more than the lateness is not counted in windows, which costs less than one that is."""
    sent: dict[str, list[int]] = {}
    came: list[_Message] = []

    class Echo:
        def __init__(self, _: Any) -> None:
            """Of the settings nothing is used."""

        def assign(self, _: Any) -> None:
            """Read everything."""

        def consume(self, *_: Any) -> list[_Message]:
            found = came.copy()
            came.clear()
            return found

        def close(self) -> None:
            """Nothing is open."""

    def put(_cluster: Any, _producer: Any, records: Sequence[OutRecord]) -> None:
        for record in records:
            sent.setdefault(record.topic, []).append(json.loads(record.value)["event_time"])
            came.append(_Message(record.value))

    monkeypatch.setattr(stream_load, "Consumer", Echo)
    monkeypatch.setattr(stream_load, "put", put)
    load = object.__new__(stream_load.StreamLoad)
    load.address, load._bodies, load._coming = "nobody:1", [(b"k", {"event_time": at * 1000}) for at in range(5)], {}
    load._cluster = load._producer = None  # type: ignore[assignment]
    monkeypatch.setattr(load, "_end", lambda *_: 0, raising=False)
    for _ in range(2):
        load.latencies_ms(1000.0, 0.012, "events", "verdicts")
    assert len(sent["events"]) == 24
    assert sent["events"] == sorted(set(sent["events"]))
    load.latencies_ms(1000.0, 0.003, "of another worker", "verdicts")
    assert sent["of another worker"] == [0, 1000, 2000]
