"""SQL over the prediction log: live and archived segments as one. The one user of duckdb.

Views: `records` (one line per record), `rows` (one line per row of a request), `acts` (the log of governed acts). A query is one SELECT. It
reaches the logs' files and nothing else: other files, the network, extensions and settings are closed before it runs."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import orjson

from lifecycle.governance.archive.place import SUFFIX, ArchiveError
from lifecycle.governance.archive.record_log import RecordLog
from serving.audit.encoding import decode_array
from serving.audit.segment_files import PATTERN

COLUMNS: Final = {
    "receipt": "VARCHAR",
    "time": "TIMESTAMP",
    "time_us": "BIGINT",
    "door": "VARCHAR",
    "model": "VARCHAR",
    "version": "VARCHAR",
    "revision": "VARCHAR",
    "variant": "VARCHAR",
    "source": "VARCHAR",
    "request_id": "VARCHAR",
    "trace_id": "VARCHAR",
    "rows": "BIGINT",
    "operating_point": "VARCHAR",
    "scores": "FLOAT[]",
    "verdicts": "VARCHAR[]",
    "degraded": "BOOLEAN[]",
    "latency_us": "BIGINT",
    "row_numbers": "BIGINT[]",
    "rules": "VARCHAR[][]",
    "fallback_from": "VARCHAR",
    "processor": "VARCHAR",
    "inputs": "JSON",
    "features": "JSON",
    "event_times_us": "JSON",
    "outputs": "JSON",
    "explained": "VARCHAR",
    "suppressed": "JSON",
    "caller": "VARCHAR",
    "tenant": "VARCHAR",
    "triage": "VARCHAR[]",
    "correlation": "JSON",
    "feature_sources": "VARCHAR[]",
    "refusal": "JSON",
    "segment": "VARCHAR",
}
"""Columns of `records` and their types. segment: LOG/NUMBER, the record's segment."""
_IN_LINE: Final = ("inputs", "features", "event_times_us", "outputs", "suppressed", "correlation", "refusal")
_ARRAYS: Final = {"scores": "FLOAT[]", "degraded": "BOOLEAN[]", "row_numbers": "BIGINT[]"}
_OF_FILE: Final = r"regexp_replace(filename, '^.*segment-\d{16}-(.+)-0*(\d+)\.[a-z]+$', '\1/\2')"
_ACTS: Final = {
    "time_us": "BIGINT",
    "actor": "VARCHAR",
    "action": "VARCHAR",
    "subject": "VARCHAR",
    "reason": "VARCHAR",
    "evidence": "JSON",
    "outcome": "VARCHAR",
}
_LONGEST_LINE: Final = 256 * 1024 * 1024
MOST_ROWS: Final = 10_000
"""The most lines of a result, unless the caller asks for more."""
_ROWS_VIEW: Final = """
CREATE VIEW "rows" AS SELECT receipt, time, time_us, door, model, version, revision, variant, source, operating_point, caller, tenant,
  i - 1 AS "row", coalesce(row_numbers[i], i - 1) AS row_number, scores[i] AS score, verdicts[i] AS verdict, degraded[i] AS degraded,
  rules[i] AS rules, row_of(inputs, i - 1) AS inputs, row_of(features, i - 1) AS features, segment
FROM (SELECT *, unnest(range(1, "rows" + 1)) AS i FROM records)
"""


class QueryError(Exception):
    """A query cannot be run; the message says why."""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Columns and lines of a result. is_cut: the query gave more lines than these."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    lines: list[tuple[Any, ...]]
    is_cut: bool


class LogQuery:
    """Runs queries over a log. acts: the folder of the log of governed acts, if there is one.

    decrypt: takes the JSON of `inputs` or `features` and the receipt, and gives the JSON with every value decrypted whose key exists.
    memory: the limit, as DuckDB writes it. only: stems of the segments to read; None: all."""

    def __init__(
        self,
        log: RecordLog,
        acts: Path | None = None,
        *,
        decrypt: Callable[[bytes, str], bytes] = lambda body, receipt: body,
        memory: str = "2GB",
        only: Sequence[str] | None = None,
    ) -> None:
        segments = [s for s in log.segments() if only is None or s.files.stem in only]
        self._live = [str(s.files.records.absolute()) for s in segments if s.archive is None]
        self._archived = [s.archive.url_of(s.files.stem + SUFFIX) for s in segments if s.archive is not None]
        self._acts = [str(path.absolute()) for path in sorted(acts.glob(PATTERN))] if acts is not None else []
        self._log, self._decrypt, self._memory = log, decrypt, memory

    def run(self, sql: str, *, most_rows: int = MOST_ROWS, within_s: float | None = None) -> QueryResult:
        """The result of one SELECT. Raises QueryError for another statement, an error in the query, or more than within_s seconds;
        ArchiveError if the log cannot be read."""
        with self._opened() as connection:
            statement = _one_select(connection, sql)
            timer = threading.Timer(within_s, connection.interrupt) if within_s is not None else None
            if timer is not None:
                timer.start()
            try:
                found = connection.execute(statement)
                columns = tuple(str(column[0]) for column in found.description or ())
                types = tuple(str(column[1]) for column in found.description or ())
                lines = found.fetchmany(most_rows + 1)
            except duckdb.InterruptException as error:
                raise QueryError(f"the query took more than {within_s} s; narrow it, e.g. by time_us") from error
            except duckdb.Error as error:
                raise QueryError(f"the query is refused: {error}") from error
            finally:
                if timer is not None:
                    timer.cancel()
        return QueryResult(columns, types, lines[:most_rows], len(lines) > most_rows)

    @contextmanager
    def _opened(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A database in memory with the views, closed to everything else."""
        with duckdb.connect(config={"memory_limit": self._memory, "autoinstall_known_extensions": "false"}) as connection:
            archive = self._log.archive
            if archive is not None and archive.folder is None:
                connection.register_filesystem(archive.file_system)
            connection.create_function("read_array", _read_array, ["VARCHAR"], "VARCHAR")  # type: ignore[arg-type]
            connection.create_function("row_of", self._row_of, ["VARCHAR", "BIGINT"], "JSON")  # type: ignore[arg-type,list-item]
            connection.create_function("opened", self._open, ["VARCHAR", "VARCHAR"], "JSON")  # type: ignore[arg-type]
            allowed = ", ".join(_quoted(path) for path in (*self._live, *self._archived, *self._acts))
            connection.execute(f"SET allowed_paths = [{allowed}]")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            try:
                connection.execute(f"CREATE VIEW records AS {self._records()}")
                connection.execute(_ROWS_VIEW)
                connection.execute(f"CREATE VIEW acts AS {self._acts_view()}")
            except duckdb.Error as error:
                raise ArchiveError(f"{self._log.folder}: the log or its archive cannot be read: {error}") from error
            yield connection

    def _records(self) -> str:
        parts = [f"SELECT {', '.join(f'NULL::{kind} AS {_name(name)}' for name, kind in COLUMNS.items())} WHERE false"]
        if self._live:
            parts.append(f"SELECT {', '.join(map(_of_line, COLUMNS))} FROM {_read_json(self._live, _JSON_COLUMNS)}")  # nosec B608  # names of our own; run closed
        if self._archived:
            files = ", ".join(map(_quoted, self._archived))
            parts.append(f"SELECT {', '.join(map(_of_archive, COLUMNS))} FROM read_parquet([{files}], filename = true)")  # nosec B608  # names of our own; run closed
        return " UNION ALL ".join(parts)

    def _acts_view(self) -> str:
        time = "try(make_timestamp(time_us)) AS time"
        if not self._acts:
            return f"SELECT {time}, * FROM (SELECT {', '.join(f'NULL::{kind} AS {name}' for name, kind in _ACTS.items())} WHERE false)"  # nosec B608  # names of our own; run closed
        return f"SELECT {time}, {', '.join(_ACTS)} FROM {_read_json(self._acts, _ACTS)} WHERE action IS NOT NULL"  # nosec B608  # names of our own; run closed

    def _open(self, body: str, receipt: str) -> str:
        return self._decrypt(body.encode(), receipt).decode()

    def _row_of(self, body: str, row: int) -> str:
        """One row of columns or tensors, as JSON by name."""
        columns = orjson.loads(body)
        return orjson.dumps({name: _element(value, row) for name, value in columns.items()}).decode()


_JSON_COLUMNS: Final = {
    name: "JSON" if name in _ARRAYS else kind for name, kind in COLUMNS.items() if name not in ("time", "segment")
}


def _of_line(name: str) -> str:
    """A column of `records` from a live line."""
    if name == "time":
        return "try(make_timestamp(time_us)) AS time"
    if name == "segment":
        return f"{_OF_FILE} AS segment"
    if name in _ARRAYS:
        is_list = f"json_type({name}) = 'ARRAY'"
        return f"CASE WHEN {is_list} THEN {name} ELSE read_array({name}) END::{_ARRAYS[name]} AS {name}"
    if name in ("inputs", "features"):
        return f"{_decrypted(name)} AS {name}"
    return _name(name)


def _of_archive(name: str) -> str:
    """A column of `records` from an archived segment."""
    if name == "segment":
        return f"{_OF_FILE} AS segment"
    if name in ("inputs", "features"):
        body = f"json_extract(decode(line), '$.{name}')"
        return f"{_decrypted(body)} AS {name}"
    if name in ("explained", "caller", "tenant"):  # archives have no column of their own for it
        return f"json_extract_string(decode(line), '$.{name}') AS {name}"
    if name in ("triage", "feature_sources"):
        return f"CAST(json_extract(decode(line), '$.{name}') AS VARCHAR[]) AS {name}"
    if name in _IN_LINE:
        return f"json_extract(decode(line), '$.{name}') AS {name}"
    return _name(name)


def _decrypted(body: str) -> str:
    return f"CASE WHEN contains(({body})::VARCHAR, '\"encrypted\"') THEN opened({body}, receipt) ELSE {body} END"


def _read_json(files: Sequence[str], columns: dict[str, str]) -> str:
    """Lines of JSON with their types. A torn last line is read as nulls and left out."""
    types = ", ".join(f"{_quoted(name)}: '{kind}'" for name, kind in columns.items())
    options = f"format = 'newline_delimited', ignore_errors = true, maximum_object_size = {_LONGEST_LINE}, filename = true"
    key = next(iter(columns))
    found = f"read_json([{', '.join(map(_quoted, files))}], {options}, columns = {{{types}}})"
    return f"(SELECT * FROM {found} WHERE {_name(key)} IS NOT NULL)"  # nosec B608  # names of our own; run closed


def _one_select(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(f"the query is not SQL: {error}") from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
        raise QueryError(f"a query must be one SELECT, this is {kinds}; a query cannot change the log")
    return statements[0]


def _read_array(body: str) -> str | None:
    """The JSON list of an array in its raw form. NaN and infinity become null."""
    value = orjson.loads(body)
    return None if value is None else orjson.dumps(decode_array(value).tolist()).decode()


def _element(value: Any, row: int) -> Any:
    """One row of a column (a list) or of a tensor in the log's form."""
    if isinstance(value, list):
        return value[row] if row < len(value) else None
    if "data" not in value and "raw" not in value:
        return None  # it was dropped
    if "data" in value and len(value["shape"]) == 1:
        return value["data"][row] if row < len(value["data"]) else None
    if "data" in value and len(value["shape"]) == 2:
        width = value["shape"][1]
        found = value["data"][row * width : (row + 1) * width]
        return found[0] if width == 1 and found else found
    array = decode_array(value)
    found = array[row].tolist() if array.ndim and row < len(array) else array.tolist()
    return found if not array.dtype.hasobject else str(found)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(name: str) -> str:
    return f'"{name}"'
