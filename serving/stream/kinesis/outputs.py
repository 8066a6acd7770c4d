"""Writes to streams, at least once: records, then the positions that they stand for."""

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from serving.stream.kinesis.account import PASSING, AwsError, AwsPlace, code_of
from serving.stream.kinesis.frames import framed, partition_key
from serving.stream.kinesis.source import KinesisSource
from serving.stream.ports import OutRecord, Partition, Position, RecordTooLarge, StreamError

MOST_RECORDS: Final = 500
MOST_BYTES: Final = 5_000_000
"""Of one request."""
RECORD_BYTES: Final = 1_048_576
"""Of one record, its key included."""
_FIRST_PAUSE_S: Final = 0.1


class KinesisOutputs:
    """Port StreamOutputs. Records are kept until `commit`, which writes them. patience_s: how long records are tried that Kinesis refuses
    because a shard is busy. Such records come after later ones of the same key: a consumer orders by event time."""

    def __init__(self, place: AwsPlace, source: KinesisSource, *, patience_s: float = 60.0) -> None:
        self._place, self._source, self._patience_s = place, source, patience_s
        self._kinesis = place.client("kinesis")
        self._waiting: list[tuple[str, dict[str, Any]]] = []

    def send(self, records: Sequence[OutRecord]) -> None:
        """See the port."""
        self._waiting.extend((record.topic, self._entry(record)) for record in records)

    def commit(self, positions: Mapping[Partition, Position]) -> None:
        """See the port."""
        by_stream: dict[str, list[dict[str, Any]]] = {}
        for stream, entry in self._waiting:
            by_stream.setdefault(stream, []).append(entry)
        for stream, entries in by_stream.items():
            for request in _requests(entries):
                self._put(stream, request)
        self._waiting.clear()
        if positions:
            self._source.commit_offsets(positions)

    def abort(self) -> None:
        """See the port."""
        self._waiting.clear()

    def close(self) -> None:
        """See the port."""
        self.abort()

    def _entry(self, record: OutRecord) -> dict[str, Any]:
        key = partition_key(record.key, secrets.token_hex(8) if record.key is None else record.key.hex()[:128] or "empty")
        data = framed(record.value, record.key, record.headers, key)
        if (size := len(data) + len(key.encode())) > RECORD_BYTES:
            raise RecordTooLarge(
                f"kinesis in {self._place.region}: a record of {size:,} bytes for {record.topic}, at most {RECORD_BYTES:,} are taken"
            )
        entry: dict[str, Any] = {"Data": data, "PartitionKey": key}
        if record.partition is not None:
            entry["ExplicitHashKey"] = self._hash_key(record.topic, record.partition)
        return entry

    def _hash_key(self, stream: str, number: int) -> str:
        try:
            for page in self._kinesis.get_paginator("list_shards").paginate(StreamName=stream):
                for shard in page["Shards"]:
                    if shard["ShardId"] == f"shardId-{number:012d}":
                        return str(shard["HashKeyRange"]["StartingHashKey"])
        except AwsError as problem:
            raise self._place.error(problem, f"list the shards of {stream}") from problem
        raise StreamError(f"kinesis in {self._place.region}: {stream} has no shard {number}")

    def _put(self, stream: str, entries: list[dict[str, Any]]) -> None:
        """Until all are taken. Raises StreamError."""
        until, pause_s, why = time.monotonic() + self._patience_s, _FIRST_PAUSE_S, ""
        while entries:
            try:
                answer = self._kinesis.put_records(StreamName=stream, Records=entries)
            except AwsError as problem:
                if code_of(problem) not in PASSING or time.monotonic() > until:
                    raise self._place.error(problem, f"write to {stream}") from problem
                why = str(problem)
            else:
                refused = [(e, said) for e, said in zip(entries, answer["Records"], strict=True) if said.get("ErrorCode")]
                entries = [entry for entry, _ in refused]
                why = refused[0][1].get("ErrorMessage", "") if refused else ""
            if entries:
                if time.monotonic() > until:
                    raise StreamError(
                        f"kinesis in {self._place.region}: {stream} refused {len(entries)} records for {self._patience_s:.0f} s: {why}; "
                        "give it more shards"
                    )
                time.sleep(pause_s)
                pause_s = min(pause_s * 2, 2.0)


def _requests(entries: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Entries in parts that one request may hold."""
    found: list[list[dict[str, Any]]] = [[]]
    size = 0
    for entry in entries:
        bytes_of_it = len(entry["Data"]) + len(entry["PartitionKey"].encode())
        if found[-1] and (len(found[-1]) >= MOST_RECORDS or size + bytes_of_it > MOST_BYTES):
            found.append([])
            size = 0
        found[-1].append(entry)
        size += bytes_of_it
    return found
