"""The segment mapping: which business unit, site or other segment an entity belongs to. Text in, a value out; pure.

CSV, with a header whose first column is `entity`, or YAML of the same content:

    entity,unit,site               10.1.0.0/16: {unit: finance, site: prague}
    10.1.0.0/16,finance,prague     10.1.7.9: {unit: it}
    10.1.7.9,it,

`entity` is an entity's key as the bundle's entity key has it, or a network (CIDR). An exact key counts before a network, a longer
prefix before a shorter one; entries are not merged. An empty value means that the entity is in no segment of that column.

The mapping is kept apart from models: a model that takes one of its columns as an input is refused (`refuse_inputs`).
lifecycle.evaluation.fairness compares segments."""

import csv
import hashlib
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Final

import yaml

from serving.files.safe_yaml import check_bounds, placing, yaml_errors

MOST_BYTES: Final = 16 * 1024 * 1024
"""Of a mapping file."""
MOST_ENTRIES: Final = 200_000
MOST_SEGMENTS: Final = 64
"""Different values over all columns; more are no segments but identities."""
_COLUMN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,30}")
_VALUE: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\"\\=]{1,63}")
_ENTITY: Final = "entity"
_REMEMBERED: Final = 65_536
"""Entities whose segments are remembered, so that an address is parsed once."""

Networks = Mapping[int, Mapping[int, Mapping[int, int]]]
"""IP version -> prefix length -> network address -> entry."""


class SegmentMapError(ValueError):
    """The mapping cannot be used; the message says what, where, and the way out."""


@dataclass(frozen=True, slots=True)
class SegmentMap:
    """A mapping of entities to segments. `find` looks up one entity.

    columns: names of the segmentations. segments: every `column=value`, sorted. digest: sha256 of the file."""

    columns: tuple[str, ...]
    segments: tuple[str, ...]
    digest: str
    entries: tuple[tuple[int, ...], ...]
    """Segments (their places in `segments`) of each entry."""
    exact: Mapping[bytes, int]
    """Entity key, UTF-8 -> entry."""
    networks: Networks
    _found: dict[bytes, tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)

    def find(self, entity: bytes) -> tuple[int, ...]:
        """Places in `segments` of an entity's segments; empty: it is in none. entity: its key, UTF-8."""
        found = self._found.get(entity)
        if found is None:
            entry = self.exact.get(entity)
            if entry is None:
                entry = self._network_of(entity)
            found = () if entry is None else self.entries[entry]
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[entity] = found
        return found

    def refuse_inputs(self, names: Collection[str], whose: str) -> None:
        """Raise SegmentMapError if one of the mapping's columns is among a model's inputs. names: its columns, tensors and features.

        A feature of a view is named `view__feature`; either part counts."""
        parts = {part for name in names for part in (name, *name.split("__"))}
        taken = sorted(set(self.columns) & parts)
        if taken:
            raise SegmentMapError(
                f"the segment mapping's column{'s' * (len(taken) > 1)} {', '.join(map(repr, taken))} "
                f"{'are inputs' if len(taken) > 1 else 'is an input'} of {whose}; a segment must not be an input of a model: "
                "rename the column of the mapping, or take the input out of the model"
            )

    def _network_of(self, entity: bytes) -> int | None:
        if not self.networks:
            return None
        try:
            address = ip_address(entity.decode("ascii"))
        except ValueError:
            return None
        number, width = int(address), address.max_prefixlen
        for length, networks in self.networks.get(address.version, {}).items():
            entry = networks.get(number >> (width - length) << (width - length))
            if entry is not None:
                return entry
        return None


def read_segment_map(path: Path) -> SegmentMap:
    """Read a mapping file, CSV or YAML by its suffix. Raises SegmentMapError."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SegmentMapError(
                f"{path}: is larger than {MOST_BYTES // 2**20} MB; write networks instead of single addresses"
            )
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise SegmentMapError(f"{path}: cannot be read: {problem}; it is a CSV or YAML file in UTF-8") from problem
    return parse_segment_map(text, str(path), is_yaml=path.suffix.lower() in (".yaml", ".yml"))


def parse_segment_map(text: str, where: str, *, is_yaml: bool) -> SegmentMap:
    """Parse a mapping's text. where: names it in errors. Raises SegmentMapError."""
    lines = _lines_of_yaml(text, where) if is_yaml else _lines_of_csv(text, where)
    columns = tuple(dict.fromkeys(column for _, _, values in lines for column in values))
    for column in columns:
        if not _COLUMN.fullmatch(column):
            raise SegmentMapError(
                f"{where}: column {column!r} is not a valid name; write a letter, then letters, digits, - and _"
            )
    segments = sorted({f"{column}={value}" for _, _, values in lines for column, value in values.items() if value})
    if not segments:
        raise SegmentMapError(f"{where}: has no segment; write e.g. the line `10.1.0.0/16,finance` under `entity,unit`")
    if len(segments) > MOST_SEGMENTS:
        raise SegmentMapError(
            f"{where}: has {len(segments)} different values, at most {MOST_SEGMENTS} are allowed; leave columns out or merge values"
        )
    places = {segment: place for place, segment in enumerate(segments)}
    exact: dict[bytes, int] = {}
    networks: dict[int, dict[int, dict[int, int]]] = {}
    entries: list[tuple[int, ...]] = []
    for number, entity, values in lines:
        kept = _network(entity)
        if kept is None:
            is_new = exact.setdefault(entity.encode(), len(entries)) == len(entries)
        else:
            of_length = networks.setdefault(kept.version, {}).setdefault(kept.prefixlen, {})
            is_new = of_length.setdefault(int(kept.network_address), len(entries)) == len(entries)
        if not is_new:
            raise SegmentMapError(f"{where}, {number}: {entity!r} occurs twice; keep one line")
        entries.append(tuple(places[f"{column}={value}"] for column, value in values.items() if value))
    longest_first = {v: dict(sorted(of_version.items(), reverse=True)) for v, of_version in networks.items()}
    digest = hashlib.sha256(text.encode()).hexdigest()
    return SegmentMap(columns, tuple(segments), f"sha256:{digest}", tuple(entries), exact, longest_first)


Line = tuple[str, str, Mapping[str, str]]
"""Where it stands, the entity, and its value by column."""
_KEPT_TAGS: Final = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")


class _AsWritten(yaml.CSafeLoader):
    """YAML whose scalars are text as it is written: 10:20:30:40:50:51, 0123 and no are entities and values, not numbers and booleans."""

    yaml_implicit_resolvers = {  # noqa: RUF012 as the base declares it
        first: [(tag, rule) for tag, rule in rules if tag in _KEPT_TAGS]
        for first, rules in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def _lines_of_csv(text: str, where: str) -> Sequence[Line]:
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if row and not row[0].startswith("#")]
    except csv.Error as problem:
        raise SegmentMapError(
            f"{where}, line {reader.line_num}: is not CSV: {problem}; check the fields and quotes of that line"
        ) from problem
    header = rows[0][1] if rows else []
    if len(header) < 2 or header[0].strip() != _ENTITY:
        raise SegmentMapError(
            f"{where}: begins with {header or 'nothing'!s:.80}; write the header `entity,unit` (or more columns)"
        )
    columns = [c.strip() for c in header[1:]]
    if len(set(columns)) != len(columns):
        raise SegmentMapError(f"{where}: columns {columns} repeat a name; name each once")
    found = []
    for number, row in rows[1:]:
        at = f"line {number}"
        if len(row) != len(columns) + 1:
            raise SegmentMapError(f"{where}, {at}: has {len(row)} fields, the header has {len(columns) + 1}")
        found.append(_line(at, row[0], dict(zip(columns, row[1:], strict=True)), where))
    return _bounded(found, where)


def _lines_of_yaml(text: str, where: str) -> Sequence[Line]:
    try:
        with yaml_errors():
            check_bounds(text)
            loader = placing(_AsWritten)(text)
            node: Any = loader.get_single_node()
            content: Any = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as problem:
        raise SegmentMapError(f"{where}: is not YAML: {problem}") from problem
    if not isinstance(content, dict) or not all(isinstance(values, dict) for values in content.values()):
        raise SegmentMapError(f"{where}: is not a mapping of entities; write e.g. `10.1.0.0/16: {{unit: finance}}`")
    for mapping in (node, *[values for _, values in node.value]):
        _refuse_twice(mapping, where)
    found = []
    for number, (entity, values) in enumerate(content.items(), 1):
        at = f"entry {number}"
        if not isinstance(entity, str) or not all(isinstance(v, str | None) for v in (*values, *values.values())):
            raise SegmentMapError(
                f"{where}, {at}: an entity, its columns and their values are text; write e.g. `10.1.0.0/16: {{unit: finance}}`"
            )
        found.append(_line(at, entity, values, where))
    return _bounded(found, where)


def _refuse_twice(mapping: Any, where: str) -> None:
    """Raise SegmentMapError for a key that is there twice, of which YAML would take the last."""
    seen = set()
    for key, _ in mapping.value:
        if key.value in seen:
            raise SegmentMapError(f"{where}, line {key.start_mark.line + 1}: {key.value!r:.80} occurs twice; keep one line")
        seen.add(key.value)


def _line(at: str, entity: str, values: Mapping[Any, Any], where: str) -> Line:
    if not entity.strip():
        raise SegmentMapError(f"{where}, {at}: has no entity; write a key or a network, e.g. 10.1.0.0/16")
    segment = {str(column): "" if value is None else str(value).strip() for column, value in values.items()}
    for column, value in segment.items():
        if value and not _VALUE.fullmatch(value):
            raise SegmentMapError(
                f"{where}, {at}: {column} is {value!r:.80}; a segment is at most 63 characters, without quotes, backslash, = and control"
            )
    return at, entity.strip(), segment


def _bounded(lines: Sequence[Line], where: str) -> Sequence[Line]:
    if len(lines) > MOST_ENTRIES:
        raise SegmentMapError(
            f"{where}: has {len(lines):,} entries, at most {MOST_ENTRIES:,} are allowed; write networks instead of single addresses"
        )
    return lines


def _network(entity: str) -> IPv4Network | IPv6Network | None:
    """The network of an entry with a prefix; None for a key. Raises nothing: what is no network is a key."""
    if "/" not in entity:
        return None
    try:
        return ip_network(entity, strict=False)
    except ValueError:
        return None
