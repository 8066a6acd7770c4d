"""The programs of docs/how-to/stand-beside-kafka-streams.md, compiled and run: raw flows, events, verdicts, alerts, counts, labels.

The contract of streams is judged by what a program of another maker sees on both sides."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
import yaml
from confluent_kafka import Consumer, Message, Producer

from lifecycle.datasets.declarations import read_detector
from lifecycle.datasets.synthetic_flows import generate_flows
from lifecycle.training.client_events import client_events
from tests.docs.pages import ROOT
from tests.e2e.running.vedette import environment, verb
from tests.fakes import kafka_broker
from tests.trained import trained_flows
from tests.waiting import HANG_S, until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.integration]

PROGRAMS = ROOT / "docs/how-to/kafka-streams"
PARTITIONS = 2
BAD = "this is no flow"
CELLS = [
    "Proto",
    "SrcAddr",
    "Sport",
    "Dir",
    "DstAddr",
    "Dport",
    "State",
    "sTos",
    "dTos",
    "TotPkts",
    "TotBytes",
    "SrcBytes",
    "Label",
]


class Topics(NamedTuple):
    raw: str
    events: str
    rejected: str
    verdicts: str
    alerts: str
    dead: str
    state: str
    counts: str
    labels: str


class Played(NamedTuple):
    """What came out, by topic; and where it came from."""

    messages: Mapping[str, list[Message]]
    topics: Topics
    frame: Any
    store: Path
    servers: str

    def values(self, topic: str) -> list[Any]:
        return [json.loads(message.value()) for message in self.messages[topic]]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the compiled classes."""
    if why := kafka_broker.unavailable():
        pytest.skip(why)
    if shutil.which("javac") is None:
        pytest.skip("javac is not installed: the Debian package openjdk-17-jdk-headless has it")
    folder = tmp_path_factory.mktemp("classes")
    sources = [str(path) for path in sorted(PROGRAMS.glob("*.java"))]
    command = ["javac", "-Xlint:all", "-Werror", "-cp", f"{kafka_broker.libs()}/*", "-d", str(folder), *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@contextmanager
def running(folder: Path, name: str, command: list[str], **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs until a signal. If it ends before, the test says what it printed."""
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=folder, env=environment(**env))
    try:
        yield process
        assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")[-4000:]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            process.kill()


def java(programs: Path, folder: Path, name: str, *words: str) -> list[str]:
    scratch = folder / f"{name}-tmp"
    scratch.mkdir()
    return [
        "java", "-Xmx256m", "-XX:TieredStopAtLevel=1", f"-Djava.io.tmpdir={scratch}",
        "-cp", f"{kafka_broker.libs()}/*{os.pathsep}{programs}", name, *words,
    ]  # fmt: skip


def raw_lines(frame: Any) -> list[str]:
    starts = frame["StartTime"].dt.strftime("%Y/%m/%d %H:%M:%S.%f")
    rows = frame.to_dict("records")
    return [
        ",".join([start, repr(row["Dur"]), *(str(row[cell]) for cell in CELLS)])
        for start, row in zip(starts, rows, strict=True)
    ]


class Reader:
    """Reads committed messages of some topics into lists."""

    def __init__(self, servers: str, topics: Topics) -> None:
        self.messages: dict[str, list[Message]] = {topic: [] for topic in topics}
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": f"reader-{topics.counts}",
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "log_level": 2,
            }
        )
        self._consumer.subscribe([topics.events, topics.rejected, topics.verdicts, topics.alerts, topics.dead, topics.counts])

    def has(self, topic: str, count: int) -> bool:
        for message in self._consumer.consume(2000, 0.2):
            if message.error() is None:
                self.messages[message.topic()].append(message)
        return len(self.messages[topic]) >= count

    def close(self) -> None:
        self._consumer.close()


def minutes(messages: list[Message]) -> dict[tuple[str, str], int]:
    """The last count of each host and minute."""
    return {(v["entity"], v["minute"]): v["alerts"] for v in (json.loads(m.value()) for m in messages)}


def minute_of(verdict: Mapping[str, Any]) -> str:
    return f"{verdict['event_time'][:16]}:00Z"


def expected_counts(alerts: list[Message]) -> dict[tuple[str, str], int]:
    verdicts = [json.loads(message.value())["verdict"] for message in alerts]
    return dict(Counter((v["entity"]["host"], minute_of(v)) for v in verdicts))


@pytest.fixture(scope="module")
def played(programs: Path, kafka: kafka_broker.SharedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("beside")
    store, servers = folder / "store", kafka.address
    trained_flows(store)
    # Counts carry event time, which is months ago: by that time the broker would delete them at its next look.
    configs = {"state": {"cleanup_policy": "compact"}, "counts": {"message_timestamp_type": "LogAppendTime"}}
    topics = Topics(*(kafka.topic(name, PARTITIONS, **configs.get(name, {})) for name in Topics._fields))
    frame = generate_flows(7, hosts=120)
    producer = Producer({"bootstrap.servers": servers, "log_level": 2, "enable.idempotence": True})
    for line in [*raw_lines(frame), BAD]:
        producer.produce(topics.raw, line.encode())
    assert producer.flush(HANG_S) == 0
    names = {"EVENTS": "events", "VERDICTS": "verdicts", "ALERTS": "alerts", "DEAD_LETTERS": "dead", "STATE": "state"}
    settings = {f"VEDETTE_STREAM_{key}": getattr(topics, name) for key, name in names.items()}
    vedette = [
        sys.executable,
        "-m",
        "operators.cli.main",
        "stream",
        "--servers",
        servers,
        "--store-dir",
        str(store),
        "--group",
        topics.events,
    ]
    upstream = java(programs, folder, "NormaliseFlows", servers, topics.raw, topics.raw, topics.events, topics.rejected)
    downstream = java(programs, folder, "CountAlerts", servers, topics.counts, topics.alerts, topics.counts)
    reader = Reader(servers, topics)
    with ExitStack() as stack:
        stack.callback(reader.close)
        ran = {
            name: stack.enter_context(running(folder, name, command, **env))
            for name, command, env in (
                ("upstream", upstream, {}),
                ("vedette", vedette, settings),
                ("downstream", downstream, {}),
            )
        }

        def said() -> str:
            logs = {name: (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-2000:] for name in ran}
            return f"{ {t: len(m) for t, m in reader.messages.items()} }: {logs}"

        def progress() -> object:
            """Three Javas, a Python and a broker start and work beside other tests: what has come, and what the programs have said."""
            return [len(m) for m in reader.messages.values()], [(folder / f"{name}.log").stat().st_size for name in ran]

        def wait(holds: Callable[[], bool]) -> None:
            until(lambda: holds() or any(p.poll() is not None for p in ran.values()), said, progress=progress)

        def comes(topic: str, count: int) -> None:
            wait(lambda: reader.has(topic, count))

        comes(topics.verdicts, len(frame))
        comes(topics.rejected, 1)
        alerting = sum(json.loads(message.value())["verdict"] == "alert" for message in reader.messages[topics.verdicts])
        comes(topics.alerts, alerting)
        alerts = list(reader.messages[topics.alerts])
        expected = expected_counts(alerts)

        def tallied() -> bool:
            reader.has(topics.counts, 0)
            return minutes(reader.messages[topics.counts]) == expected

        wait(tallied)
        # The same alerts again, as low_latency may write them after a failure; behind them one that is new, in each partition.
        for message in alerts:
            producer.produce(topics.alerts, message.value(), message.key(), message.partition(), headers=message.headers())
        for number in range(PARTITIONS):
            value = json.loads(alerts[0].value())
            value["verdict"] |= {"id": f"new/{number}/0", "entity": {"host": "new"}}
            producer.produce(
                topics.alerts, json.dumps(value), f"new-{number}", number, headers={"vedette-id": f"new/{number}/0"}
            )
        assert producer.flush(HANG_S) == 0
        comes(topics.alerts, 2 * len(alerts) + PARTITIONS)

        def counted() -> bool:
            reader.has(topics.counts, 0)
            return {f"new-{n}" for n in range(PARTITIONS)} <= {m.key().decode() for m in reader.messages[topics.counts]}

        wait(counted)
        reader.messages[topics.alerts] = alerts
        yield Played(reader.messages, topics, frame, store, servers)


def test_events_are_what_vedette_itself_would_send(played):
    """The program upstream makes of a line what training makes of the row."""
    ours = [event.body for event in client_events(read_detector("flows"), played.frame)]
    theirs = played.values(played.topics.events)

    def known(event: Mapping[str, Any]) -> datetime:
        return datetime.fromisoformat(str(event["event_time"]))

    def rest(event: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
        return tuple(sorted((name, value) for name, value in event.items() if name != "event_time"))

    pairs = list(zip(sorted(ours, key=rest), sorted(theirs, key=rest), strict=True))
    assert [rest(a) for a, _ in pairs] == [rest(b) for _, b in pairs]
    assert max(abs((known(a) - known(b)).total_seconds()) for a, b in pairs) <= 1e-6


def test_a_line_that_is_no_flow_is_set_aside_upstream(played):
    assert [message.value() for message in played.messages[played.topics.rejected]] == [BAD.encode()]
    assert played.messages[played.topics.dead] == []


def test_each_event_has_one_verdict_which_names_it(played):
    events = {f"{m.topic()}/{m.partition()}/{m.offset()}" for m in played.messages[played.topics.events]}
    verdicts = played.messages[played.topics.verdicts]
    assert Counter(dict(m.headers())["vedette-id"].decode() for m in verdicts) == Counter(events)
    assert {v["id"] for v in played.values(played.topics.verdicts)} == events


def test_an_entity_keeps_its_partition(played):
    """Java's producer upstream and the worker's place a key alike."""
    places: dict[bytes, set[int]] = {}
    for topic in (played.topics.events, played.topics.verdicts, played.topics.alerts):
        for message in played.messages[topic]:
            places.setdefault(message.key(), set()).add(message.partition())
    assert {key: where for key, where in places.items() if len(where) > 1} == {}
    assert len({min(where) for where in places.values()}) == PARTITIONS


def test_messages_fit_the_published_schemas(played):
    described = yaml.safe_load((ROOT / "docs/reference/streams.asyncapi.yaml").read_text(encoding="utf-8"))
    for topic, name in ((played.topics.verdicts, "VerdictMessage"), (played.topics.alerts, "AlertMessage")):
        schema = {"$ref": f"#/components/schemas/{name}", "components": described["components"]}
        judge = jsonschema.Draft202012Validator(schema)
        values = played.values(topic)
        assert values
        for value in values[:200]:
            judge.validate(value)
        known = set(described["components"]["schemas"][name]["properties"])
        assert {field for value in values for field in value} <= known


def test_an_alert_carries_its_event_and_its_verdict(played):
    events = {f"{m.topic()}/{m.partition()}/{m.offset()}": json.loads(m.value()) for m in played.messages[played.topics.events]}
    verdicts = {v["id"]: v for v in played.values(played.topics.verdicts)}
    alerts = played.values(played.topics.alerts)
    assert sorted(a["verdict"]["id"] for a in alerts) == sorted(v["id"] for v in verdicts.values() if v["verdict"] == "alert")
    for alert in alerts:
        assert alert["event"] == events[alert["verdict"]["id"]]
        assert alert["verdict"] == verdicts[alert["verdict"]["id"]]


def test_alerts_are_counted_once_though_they_came_twice(played):
    counts = minutes(played.messages[played.topics.counts])
    own = {place: count for place, count in counts.items() if not place[0].startswith("new-")}
    assert own == expected_counts(played.messages[played.topics.alerts])
    assert sum(count for place, count in counts.items() if place[0].startswith("new-")) == PARTITIONS


def test_labels_name_what_was_scored(played):
    """By receipt and row, or by the event's id, as the verdict has them."""
    producer = Producer({"bootstrap.servers": played.servers, "log_level": 2, "enable.idempotence": True})
    verdicts = [alert["verdict"] for alert in played.values(played.topics.alerts)][:3]
    for verdict, named in zip(verdicts, ("row", "row", "id"), strict=True):
        event = {"receipt": verdict["receipt"], "row": verdict["row"]} if named == "row" else {"event": verdict["id"]}
        producer.produce(played.topics.labels, json.dumps({**event, "verdict": "attack", "analyst": "ada"}))
    assert producer.flush(HANG_S) == 0
    followed = verb(
        "label", "follow", "--bootstrap", played.servers, "--topic", played.topics.labels, "--store-dir", str(played.store),
        "--drain", "1", "--json",
    )  # fmt: skip
    found = json.loads(followed.stdout)
    assert (found["given"], found["set_aside"]) == (len(verdicts), 0), followed.stderr
    for verdict in verdicts:
        name = f"{verdict['receipt']}#{verdict['row']}"
        shown = verb("label", "show", name, "--store-dir", str(played.store), "--json")
        assert '"ada"' in shown.stdout
