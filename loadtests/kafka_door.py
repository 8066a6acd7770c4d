"""The Locust user of the stream: it produces events with a traceparent, and measures from then until their verdicts can be read.

The latency is end to end: through the broker, the worker and its transaction, to a reader of committed records. Users do not wait for
verdicts, so a slow worker gets as many events as a fast one. A failure is an event without a verdict in time, an event among the dead
letters, or a verdict without its event's trace. VEDETTE_STREAM_* names brokers and topics. The other users are in users.py."""

import time
import uuid
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import gevent
import msgspec
import orjson
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from locust import User, constant, task

from loadtests.captures import stream_events_of
from loadtests.in_flight import EventsInFlight
from loadtests.users import SETTINGS, LoadError, cycle_from_own_start
from serving.stream.contract import REASON_HEADER, TRACE_HEADER
from serving.stream.kafka.cluster import KafkaCluster, ToldOnce
from serving.stream.kafka.producing import new_producer, put
from serving.stream.ports import OutRecord
from serving.stream.settings import StreamSettings

KAFKA: Final = "kafka verdict"
_LOOK_S: Final = 0.005
_LEAST_WAIT_S: Final = 0.1
_CONNECT_S: Final = 30.0
_SAMPLED_OF: Final = 100
"""One event in this many is sampled: its `traceparent` asks for spans to be recorded."""


class _Answer(msgspec.Struct):
    """The field that is read of a verdict, or of a dead letter, which is the event as it was sent."""

    event_id: str


_ANSWER: Final = msgspec.json.Decoder(_Answer)


@cache
def events() -> tuple[tuple[bytes, dict[str, Any]], ...]:
    """Keys and bodies of the events to send. Raises ValueError if there are none for the model."""
    source, found = stream_events_of(SETTINGS.models[0], SETTINGS.data_dir)
    print(f"model {SETTINGS.models[0]}: {len(found)} events from {source}")  # Locust shows it in its log
    return tuple(found)


class EventStream:
    """A producer, and a reader of verdicts and dead letters, shared by all users of this process. Raises StreamError."""

    def __init__(self, environment: Any, settings: StreamSettings) -> None:
        self.in_flight = EventsInFlight()
        self._environment, self._settings, self._sent = environment, settings, 0
        self._cluster = KafkaCluster(settings.servers, settings.options, "vedette-load")
        told = ToldOnce(self._cluster)
        self._producer = new_producer(self._cluster, told, {})
        fixed = {
            "group.id": f"vedette-load-{uuid.uuid4().hex}",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
        self._consumer = Consumer(self._cluster.properties({"fetch.wait.max.ms": 5}, {**fixed, "error_cb": told}))
        try:
            self._consumer.assign([*self._ends(settings.verdicts), *self._ends(settings.dead_letters)])
        except KafkaException as problem:
            raise self._cluster.error(problem, f"read {settings.verdicts} and {settings.dead_letters}") from problem
        self._looking = gevent.spawn(self._look)

    def send(self, key: bytes, body: dict[str, Any]) -> None:
        """Produce one event that happens now. Its new id is also the id of its trace."""
        event_id = uuid.uuid4().hex
        value = orjson.dumps({**body, "event_id": event_id, "event_time": datetime.now(UTC).isoformat()})
        self._sent += 1
        trace = f"00-{event_id}-{uuid.uuid4().hex[:16]}-{'00' if self._sent % _SAMPLED_OF else '01'}"
        self.in_flight.sent(event_id, time.perf_counter())
        put(self._cluster, self._producer, [OutRecord(self._settings.events, value, key, ((TRACE_HEADER, trace.encode()),))])

    def drain(self) -> None:
        """Wait for the verdicts that are still to come. Events that get none are failures."""
        until_s = time.perf_counter() + SETTINGS.verdict_s
        while len(self.in_flight) and time.perf_counter() < until_s:
            gevent.sleep(_LOOK_S)
        self._give_up(0.0)

    def _ends(self, topic: str) -> list[TopicPartition]:
        found = self._consumer.list_topics(topic, timeout=_CONNECT_S).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        places = [TopicPartition(topic, number) for number in found.partitions]
        return [
            TopicPartition(p.topic, p.partition, self._consumer.get_watermark_offsets(p, timeout=_CONNECT_S)[1]) for p in places
        ]

    def _look(self) -> None:
        while True:
            self._producer.poll(0)
            came = self._consumer.consume(1000, 0)
            now_s = time.perf_counter()
            for message in came:
                if message.error() is None:
                    self._came(message, now_s)
            self._give_up(SETTINGS.verdict_s)
            gevent.sleep(_LOOK_S)

    def _came(self, message: Message, now_s: float) -> None:
        value = message.value() or b""
        headers: dict[str, Any] = dict(message.headers() or ())
        try:
            event_id = _ANSWER.decode(value).event_id
        except msgspec.DecodeError:
            return  # another producer's
        waited_ms = self.in_flight.answered(event_id, now_s)
        if waited_ms is None:
            return
        problem = None
        if message.topic() == self._settings.dead_letters:
            problem = LoadError(f"among the dead letters: {(headers.get(REASON_HEADER) or b'').decode(errors='replace')[:200]}")
        elif event_id.encode() not in headers.get(TRACE_HEADER, b""):
            problem = LoadError("a verdict without its event's traceparent")
        self._report(waited_ms, len(value), problem)

    def _give_up(self, after_s: float) -> None:
        for waited_ms in self.in_flight.overdue(time.perf_counter(), after_s):
            self._report(waited_ms, 0, LoadError(f"no verdict within {SETTINGS.verdict_s:g} s"))

    def _report(self, waited_ms: float, length: int, problem: Exception | None) -> None:
        self._environment.events.request.fire(
            request_type="Kafka", name=KAFKA, response_time=waited_ms, response_length=length, exception=problem, context={}
        )


@cache
def stream_of(environment: Any) -> EventStream:
    """The stream of this process, made at the first call. Raises StreamError."""
    return EventStream(environment, StreamSettings())


class KafkaDoor(User):  # type: ignore[misc]  # Locust has no types
    """Produces some events, waits a while, and repeats this."""

    wait_time = constant(max(SETTINGS.wait_s, _LEAST_WAIT_S))

    def on_start(self) -> None:
        """Connect, and begin at another event than the other users."""
        self.stream, self.events = stream_of(self.environment), cycle_from_own_start(events())

    @task  # type: ignore[untyped-decorator]
    def send(self) -> None:
        """Produce VEDETTE_LOAD_EVENTS events."""
        for _ in range(SETTINGS.events):
            self.stream.send(*next(self.events))
