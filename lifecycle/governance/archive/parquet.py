"""One segment of the prediction log as a Parquet file, and back to the byte.

The column `line` holds each line as it was written, without its newline: the chain's proofs are about these bytes. The other columns are
the record's fields with their types, for queries; queries read other fields, such as `inputs` and `features`, from `line`. Compression is
zstd; row groups of ROW_GROUP records have statistics, and a Bloom filter on `receipt`."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from lifecycle.governance.archive.place import ArchiveError, ArchivePlace
from serving.audit.encoding import decode_array, decode_record
from serving.audit.record import AuditRecord

ROW_GROUP: Final = 16_384
"""Records in a row group. A query for one receipt reads one of them."""
TYPED: Final = pa.schema(
    [
        ("receipt", pa.string()),
        ("time_us", pa.int64()),
        ("door", pa.string()),
        ("model", pa.string()),
        ("version", pa.string()),
        ("revision", pa.string()),
        ("variant", pa.string()),
        ("source", pa.string()),
        ("request_id", pa.string()),
        ("trace_id", pa.string()),
        ("rows", pa.int64()),
        ("operating_point", pa.string()),
        ("scores", pa.list_(pa.float32())),
        ("verdicts", pa.list_(pa.string())),
        ("degraded", pa.list_(pa.bool_())),
        ("latency_us", pa.int64()),
        ("row_numbers", pa.list_(pa.int64())),
        ("rules", pa.list_(pa.list_(pa.string()))),
        ("fallback_from", pa.string()),
        ("processor", pa.string()),
    ]
)
"""The fields that are columns of their own."""
SCHEMA: Final = pa.schema([*TYPED, ("time", pa.timestamp("us")), pa.field("line", pa.binary(), nullable=False)])
"""`time` is `time_us` as a timestamp, UTC."""
_ARRAYS: Final = frozenset({"scores", "degraded", "row_numbers"})
_REPEATED: Final = [name for name in TYPED.names if name not in ("receipt", "time_us", "request_id", "trace_id", "latency_us")]


def write_segment(entries: Iterable[bytes], target: Path, *, about: Mapping[str, str] | None = None) -> int:
    """Write lines as a Parquet file of this machine; how many. about: goes into the file's metadata. Raises ArchiveError for a line that
    is not a record."""
    count = 0
    schema = SCHEMA.with_metadata(dict(about or {}))
    with segment_writer(target, schema) as writer:
        lines = iter(entries)
        while batch := list(itertools.islice(lines, ROW_GROUP)):
            writer.write_table(table_of(batch, schema), row_group_size=ROW_GROUP)
            count += len(batch)
    return count


def segment_writer(target: Path, schema: pa.Schema = SCHEMA) -> pq.ParquetWriter:
    """A writer of tables of SCHEMA, with the compression, statistics and Bloom filter of an archived segment."""
    dictionary = [name if not pa.types.is_list(TYPED.field(name).type) else f"{name}.list.element" for name in _REPEATED]
    return pq.ParquetWriter(
        target,
        schema,
        compression="zstd",
        compression_level=9,
        use_dictionary=dictionary,
        write_statistics=["time", *(name for name in TYPED.names if not pa.types.is_list(TYPED.field(name).type))],
        bloom_filter_options={"receipt": {"ndv": ROW_GROUP, "fpp": 0.01}},
        data_page_size=256 * 1024,
    )


def table_of(lines: list[bytes], schema: pa.Schema = SCHEMA) -> pa.Table:
    """Lines as a table of SCHEMA. Raises ArchiveError for a line that is not a record."""
    records = []
    for line in lines:
        try:
            records.append(decode_record(line))
        except (msgspec.DecodeError, RecursionError) as error:
            raise ArchiveError(
                f"a line is not an audit record ({error}): {line[:80]!r}; `vedette audit verify` says more"
            ) from error
    columns = [pa.array([_value(record, name) for record in records], TYPED.field(name).type) for name in TYPED.names]
    times = columns[TYPED.get_field_index("time_us")].cast(pa.timestamp("us"))
    return pa.Table.from_arrays([*columns, times, pa.array(lines, pa.binary())], schema=schema)


def read_lines(place: ArchivePlace, name: str) -> Iterator[bytes]:
    """The lines of an archived segment, byte for byte. Raises ArchiveError if the file is missing or damaged."""
    with place.opened(name) as stream:
        try:
            with pq.ParquetFile(stream) as file:
                for batch in file.iter_batches(batch_size=2048, columns=["line"]):
                    yield from batch.column(0).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ArchiveError(f"{place.url}/{name}: is not a Parquet file of the archive, or is damaged ({error})") from error


def _value(record: AuditRecord, name: str) -> Any:
    """A field as its column holds it. A score that is NaN or infinite becomes null."""
    value = getattr(record, name)
    if name in _ARRAYS and isinstance(value, Mapping):
        found = decode_array(value).tolist()
        return [element if math.isfinite(element) else None for element in found]
    return value
