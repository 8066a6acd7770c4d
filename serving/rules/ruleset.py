"""The rules of one bundle: read from the files of its `rules/` folder, compiled once, give verdicts.

A row gets the verdict of the severest rule that matches it. If none matches it gets the verdict under `otherwise` in rules.yaml."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.ports import Columns, RuleUse, RuleVerdicts
from serving.rules.declared.rules_spec import RULES_MATCHED, RULES_SEVERITY
from serving.rules.declared.rules_yaml import FOLDER, THRESHOLDS, RulesFile, parse_rules_file
from serving.rules.errors import RuleError
from serving.rules.events import Fields, fields_of_json
from serving.rules.files import SUFFIXES
from serving.rules.logsources import EventSource, LogSources, declared_source, read_entries
from serving.rules.mappings.catalogue import entries_of
from serving.rules.thresholds import ThresholdDeclaration, ThresholdRules
from serving.rules.tree import SigmaRule, UnsupportedRule

if TYPE_CHECKING:
    from serving.rules.matcher import Matcher

MAX_BYTES: Final = 16 * 1024 * 1024
CODES: Final[Mapping[str, int]] = {"informational": 0, "low": 0, "medium": 1, "high": 2, "critical": 2}
"""A rule's severity -> verdict: 0 benign, 1 investigate, 2 alert."""
SEVERITIES: Final = ("informational", "low", "medium", "high", "critical")
OTHERWISE: Final[Mapping[str, int]] = {"benign": 0, "investigate": 1, "alert": 2}


@dataclass(frozen=True, slots=True)
class EventPlace:
    """Where the event of a row is: in one column as JSON, or else the columns are its fields. source: the log source of all events."""

    column: str | None = None
    fields: tuple[str, ...] = ()
    source: Mapping[str, str] = field(default_factory=dict)


class RuleSet:
    """Implements ports.Rules."""

    def __init__(
        self, thresholds: ThresholdRules, sigma: "Matcher | None", place: EventPlace, declared: RulesFile | None = None
    ) -> None:
        declared = declared or RulesFile()
        self._thresholds, self.sigma, self.place = thresholds, sigma, place
        self._otherwise = OTHERWISE[declared.otherwise]
        self.use: RuleUse = declared.use
        self.weight = declared.weight
        self._source = declared_source(dict(place.source)) if place.source else None

    @property
    def size(self) -> int:
        """How many rules can match."""
        return len(self._thresholds.rules) + (len(self.sigma.rules) if self.sigma is not None else 0)

    @property
    def unsupported(self) -> tuple[UnsupportedRule, ...]:
        """SIGMA rules that cannot be matched, and why."""
        return self.sigma.unsupported if self.sigma is not None else ()

    @property
    def unreached(self) -> "tuple[SigmaRule, ...]":
        """SIGMA rules whose log source is never derived from an event, or does not include the bundle's own source."""
        if self.sigma is None:
            return ()
        if self._source is None:
            return self.sigma.unreached
        theirs = set(self._source.covered(rule.source for rule in self.sigma.rules))
        return tuple(rule for rule in self.sigma.rules if rule.source not in theirs)

    @property
    def thresholds(self) -> int:
        """How many threshold rules there are."""
        return len(self._thresholds.rules)

    def applies(self, columns: frozenset[str]) -> bool:
        """See ports.Rules."""
        return self._thresholds.applies(columns) or (self._has_event(columns) and self.sigma is not None)

    def judge(self, columns: Columns, rows: int) -> RuleVerdicts:
        """See ports.Rules."""
        codes: NDArray[np.intp] = np.full(rows, self._otherwise, dtype=np.intp)
        matched: list[tuple[str, ...]] = []
        for row, found in enumerate(self._matches(columns, rows)):
            if found:
                codes[row] = max(CODES[severity] for _, severity in found)
            matched.append(tuple([identity for identity, _ in found]))
        return RuleVerdicts(codes, tuple(matched))

    def features(self, columns: Columns, rows: int) -> dict[str, NDArray[np.float32]]:
        """See ports.Rules."""
        counts, severest = np.zeros(rows, dtype=np.float32), np.zeros(rows, dtype=np.float32)
        for row, found in enumerate(self._matches(columns, rows)):
            if found:
                counts[row] = len(found)
                severest[row] = max(SEVERITIES.index(severity) + 1 for _, severity in found)
        return {RULES_MATCHED: counts, RULES_SEVERITY: severest}

    def _matches(self, columns: Columns, rows: int) -> Iterator[list[tuple[str, str]]]:
        """Id and severity of the rules that match each row."""
        held = self._thresholds.judge(columns, rows)
        events = self._events(columns, rows)
        for row in range(rows):
            found = [(rule.id, rule.severity) for rule in held[row]]
            if self.sigma is not None and events[row] is not None:
                fields, source = events[row]  # type: ignore[misc]  # seen not to be None
                hidden = self.sigma.correlations.hidden
                found += [(rule.id, rule.level) for rule in self.sigma.match(fields, source) if rule.id not in hidden]
            yield found

    def _has_event(self, columns: frozenset[str]) -> bool:
        place = self.place
        return place.column in columns if place.column is not None else any(name in columns for name in place.fields)

    def _events(self, columns: Columns, rows: int) -> Sequence[tuple[Fields, EventSource] | None]:
        """The event of each row; None if it cannot be read."""
        if self.sigma is None or not self._has_event(frozenset(columns)):
            return [None] * rows
        if self.place.column is not None:
            return [self._read(body) for body in columns[self.place.column].tolist()]
        return [self._from_columns(columns, row) for row in range(rows)]

    def _read(self, body: Any) -> tuple[Fields, EventSource] | None:
        sources = self.sigma.sources if self.sigma is not None else LogSources()
        try:
            fields, document = fields_of_json(body if isinstance(body, bytes) else str(body).encode())
            named = document.get("logsource")
            declared = named if isinstance(named, dict) else None  # else an ordinary field of that name
            source = sources.of(fields, declared)
        except RuleError:
            return None  # no rule can match a row whose event cannot be read
        return fields, source if declared is not None or self._source is None else self._source

    def _from_columns(self, columns: Columns, row: int) -> tuple[Fields, EventSource]:
        fields: Fields = {}
        for name in self.place.fields:
            if name in columns:
                value = columns[name][row]
                fields[name] = value.decode(errors="replace") if isinstance(value, bytes) else _number(value)
        sources = self.sigma.sources if self.sigma is not None else LogSources()
        derived = sources.of(fields)
        return fields, self._source or derived


def _number(value: Any) -> str:
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value).lower() if isinstance(value, (bool, np.bool_)) else str(value)


@dataclass(frozen=True, slots=True)
class RuleFiles:
    """The content of rule files, before the columns are known. sigma: None if there is no SIGMA file."""

    declared: RulesFile
    sigma: "Matcher | None"


def read_files(files: Mapping[str, bytes], sources: Sequence[str] = ()) -> RuleFiles:
    """Parse rules.yaml and compile the SIGMA files. files: path within the folder -> content. sources: besides those of rules.yaml.

    Raises RuleError; a SIGMA file that cannot be read, or a rule that is not supported, is listed instead."""
    if sum(map(len, files.values())) > MAX_BYTES:
        raise RuleError(f"the rules are larger than {MAX_BYTES} bytes; choose those that matter for this model")
    strange = sorted(path for path in files if not path.lower().endswith(SUFFIXES))
    if strange:
        raise RuleError(f"{strange} are not rule files; {FOLDER} may hold only rules.yaml and SIGMA files (*.yml, *.yaml)")
    parsed = parse_rules_file(files.get(THRESHOLDS, b""))
    entries = [*read_entries(parsed.logsources), *entries_of((*parsed.sources, *sources))]
    sigma_files = [(path, content) for path, content in sorted(files.items()) if path != THRESHOLDS]
    if not sigma_files:
        return RuleFiles(parsed, None)
    from serving.rules.matcher import compile_sigma  # pySigma takes half a second to import; few bundles need it

    return RuleFiles(parsed, compile_sigma(sigma_files, placeholders=parsed.placeholders, sources=LogSources(entries)))


def techniques_of_files(found: RuleFiles) -> dict[str, tuple[str, ...]]:
    """MITRE ATT&CK techniques by rule id, of the rules that have some; correlations too."""
    named = [(rule.id, rule.techniques) for rule in found.declared.thresholds]
    if found.sigma is not None:
        named += [(rule.id, rule.techniques) for rule in found.sigma.rules]
        named += [(rule.id, rule.techniques) for rule in found.sigma.correlations.rules]
    return {identity: techniques for identity, techniques in named if techniques}


def read_rules(files: Mapping[str, bytes], datatypes: Mapping[str, str], place: EventPlace | None = None) -> RuleSet:
    """Compile the files of a bundle's `rules/` folder. files: path -> content. datatypes: of each column a threshold rule may name.

    Raises RuleError; a SIGMA rule that is merely not supported is listed instead."""
    found = read_files({path.removeprefix(FOLDER): content for path, content in files.items()})
    declared = [ThresholdDeclaration(r.id, r.title, r.when, r.severity, r.reason) for r in found.declared.thresholds]
    return RuleSet(ThresholdRules(declared, datatypes), found.sigma, place or EventPlace(), found.declared)
