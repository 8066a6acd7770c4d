"""A verdict's bytes are those of its VerdictMessage, however they were put together."""

from math import isnan
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.models.manifest import FieldSpec, Manifest, TensorAssembly, TensorSpec
from serving.stream.answers import RowAnswers, ScoredEvents
from serving.stream.contract import VerdictMessage
from serving.stream.encoding import MessageTopics, verdict_records
from serving.stream.events import StreamEvents
from serving.stream.ports import Partition, StreamRecord
from tests.laws import examples

TOPICS = MessageTopics("verdicts", "alerts", "dead")
TEXT = st.text(max_size=6)
FIELDS: dict[str, Any] = {
    "host": st.binary(max_size=5),
    "port": st.integers(-(2**31), 2**31 - 1),
    "word": st.sampled_from([b"benign", b"investigate", b"unknown", b"alert"]),
    "score": st.one_of(st.floats(allow_infinity=False), st.sampled_from([0.5, 1e-7, 1e22, -0.0, 3.0])),
    "probability": st.floats(0, 1),
    "degraded": st.booleans(),
    "late": st.booleans(),
    "sketched": st.booleans(),
    "identity": st.sampled_from(
        [("stable", "1", "r1", "model", "siem"), ('a"é', "2", "r\n", "rules", None), ("c", "3", "r3", "model+rules", "p")]
    ),
    "rules": st.sampled_from([(), (), ("r-1", 'r"2')]),
    "suppressed_by": st.sampled_from([None, None, "s1"]),
    "event_id": st.sampled_from([None, None, "e", 7]),
}


@pytest.mark.heavy
@given(
    st.lists(st.fixed_dictionaries(FIELDS), min_size=1, max_size=8),
    st.sampled_from(["events", 'eve"nts', "é"]),
    st.one_of(st.none(), TEXT),
    TEXT,
    st.booleans(),
    st.integers(0, 3),
)
@examples(200)
def test_a_verdict_is_written_as_its_message_says(
    rows: list[dict[str, Any]], topic: str, trace: str | None, receipt: str, has_probability: bool, first_row: int
) -> None:
    padded = [*rows[:1] * first_row, *rows]

    def column(name: str) -> list[Any]:
        return [row[name] for row in padded]

    answers = RowAnswers(
        receipt, column("word"), column("score"), column("probability") if has_probability else None, column("degraded"),
        column("identity"), column("rules"), trace, column("suppressed_by"),
    )  # fmt: skip
    place, n = Partition(topic, 3), len(rows)
    hosts = np.empty(n, object)
    hosts[:] = [row["host"] for row in rows]
    events = StreamEvents(
        place,
        [StreamRecord(place, 10 + i, b"") for i in range(n)],
        [{} if row["event_id"] is None else {"event_id": row["event_id"]} for row in rows],
        {"host": hosts, "port": np.array([row["port"] for row in rows], np.int32)},
        [row["host"] for row in rows],
        np.arange(n, dtype=np.int64) * 1_234_567,
        np.array([row["late"] for row in rows]),
        np.ones(n, np.bool_),
    )
    scored = ScoredEvents(0, 0, events, answers, first_row, [row["sketched"] for row in rows])
    keys = (FieldSpec(name="host", datatype="BYTES"), FieldSpec(name="port", datatype="INT32"))
    inputs = (TensorSpec(name="x", datatype="INT32", shape=(-1, 1)),)
    asks = (FieldSpec(name="size", datatype="INT32"),)
    reads = (TensorAssembly(tensor="x", columns=("size",)),)
    manifest = Manifest(
        name="m", version="1", inputs=inputs, outputs=(), files={}, assembly=reads, entity_keys=keys, request_fields=asks
    )
    out, alerts = verdict_records(scored, {}, manifest, TOPICS, 1_700_000_000_000_000)
    verdicts = [record for record in out if record.topic == "verdicts"]
    assert alerts == sum(row["word"] == b"alert" for row in rows)
    for at, (row, record) in enumerate(zip(rows, verdicts, strict=True)):
        found = msgspec.json.decode(record.value or b"", type=VerdictMessage)
        assert msgspec.json.encode(found) == record.value
        assert (found.id, found.row, found.receipt) == (f"{topic}/3/{10 + at}", first_row + at, receipt)
        assert dict(record.headers)["vedette-id"].decode() == found.id
        assert found.entity == {"host": row["host"].decode("utf-8", "replace"), "port": row["port"]}
        assert (found.variant, found.version, found.revision, found.source, found.operating_point) == row["identity"]
        assert (found.verdict, found.rules, found.trace_id) == (row["word"].decode(), row["rules"], trace)
        assert (found.late, found.sketched, found.suppressed_by) == (row["late"], row["sketched"], row["suppressed_by"])
        assert found.degraded == (row["degraded"] or row["identity"][3] == "rules")
        assert found.score == (None if isnan(row["score"]) else row["score"])
        assert found.probability == (row["probability"] if has_probability and not isnan(row["score"]) else None)
        assert found.event_id == (None if row["event_id"] is None else str(row["event_id"]))
