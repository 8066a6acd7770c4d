"""The log sources of an event, which decide the rules that apply to it.

An event may name its log source (`logsource`). Otherwise it is derived from its channel and id (Windows) and from a site's own entries."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from serving.rules import windows
from serving.rules.errors import RuleError
from serving.rules.events import Fields, texts_of
from serving.rules.tree import LogSource

WINDOWS: Final = "windows"
CHANNEL: Final = "Channel"
EVENT_ID: Final = "EventID"
_PARTS: Final = ("product", "category", "service")
_NO_PART: Final = LogSource(None, None, None)
ANY_VALUE: Final = "*"
"""In `when`: the field is there, with any value."""


@dataclass(frozen=True, slots=True)
class EventSource:
    """The log sources of an event. A rule applies to it if each part that the rule names is among these."""

    products: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    services: tuple[str, ...] = ()

    def covered(self, sources: Iterable[LogSource]) -> list[LogSource]:
        """Of the log sources that rules name, those that include this event. A source that names no part includes none."""
        products, categories, services = {None, *self.products}, {None, *self.categories}, {None, *self.services}
        return [
            source
            for source in sources
            if source.product in products
            and source.category in categories
            and source.service in services
            and source != _NO_PART
        ]


@dataclass(frozen=True, slots=True)
class LogSourceEntry:
    """Events that satisfy all of `when` have this source. when: field -> values, in lower case (`*`: any). fields: name in rules -> names
    in events, of which the first that is there counts."""

    when: Mapping[str, frozenset[str]]
    source: EventSource
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def products(self) -> tuple[str, ...]:
        """Products of the events it is about; a Windows channel needs no product of its own."""
        return self.source.products or ((WINDOWS,) if CHANNEL in self.when else ())


class _OpenEntries:
    """Entries that depend on more than channel and id, found by one field of each: an event has few of those fields."""

    def __init__(self, entries: Sequence[LogSourceEntry]) -> None:
        self._entries = tuple(entries)
        self._by_field: dict[str, dict[str, list[int]]] = {}
        for number, entry in enumerate(entries):
            names = [name for name in entry.when if name not in (CHANNEL, EVENT_ID)]
            name = min(names, key=lambda n: ANY_VALUE in entry.when[n])
            for value in entry.when[name]:
                self._by_field.setdefault(name, {}).setdefault(value, []).append(number)

    def satisfied_by(self, fields: Fields) -> list[LogSourceEntry]:
        """The entries about an event with these fields, in order."""
        found: set[int] = set()
        for name, by_value in self._by_field.items():
            value = fields.get(name)
            if value is None:
                continue
            for text in (*texts_of(value), ANY_VALUE):
                found.update(by_value.get(text.lower(), ()))
        return [self._entries[n] for n in sorted(found) if _satisfies(fields, self._entries[n].when)]


class _Opened:
    """Open entries by what they are of: most channels and ids have the same, so each is made once."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, ...], _OpenEntries] = {}

    def of(self, entries: Sequence[LogSourceEntry]) -> _OpenEntries:
        key = tuple(map(id, entries))
        if key not in self._made:
            self._made[key] = _OpenEntries(entries)
        return self._made[key]


@dataclass(frozen=True, slots=True)
class _KnownSource:
    """All events of one channel and id: the union of the entries that always apply, and the entries that depend on other fields."""

    source: EventSource
    fields: tuple[tuple[str, str], ...]
    open: _OpenEntries


class LogSources:
    """Derives sources. Entries of a site add to the built-in ones. with_windows: False leaves those out."""

    def __init__(self, extra: Sequence[LogSourceEntry] = (), *, with_windows: bool = True) -> None:
        entries = (*extra, *_built_in()) if with_windows else tuple(extra)
        self.entries = entries
        of_all = [e for e in entries if CHANNEL not in e.when]
        by_channel: dict[str, list[LogSourceEntry]] = {c: [] for e in entries for c in e.when.get(CHANNEL, ())}
        for entry in entries:
            for channel in entry.when.get(CHANNEL, by_channel):
                by_channel[channel].append(entry)
        opened = _Opened()
        self._by_channel = {
            key: known for channel, of_it in by_channel.items() for key, known in _known_sources(of_it, channel, opened)
        }
        self._other_channels = {number: known for (_, number), known in _known_sources(of_all, "", opened)}
        self._no_channel = _known_source(of_all, None, None, opened)

    def of(self, fields: Fields, declared: Mapping[str, Any] | None = None) -> EventSource:
        """The source of an event. Adds the taxonomy's field names to `fields`, where an entry has them. declared: what the event names."""
        channel, number = fields.get(CHANNEL), fields.get(EVENT_ID)
        if isinstance(channel, str) and isinstance(number, str):
            lowered = channel.lower()
            known = (
                self._by_channel.get((lowered, number))
                or self._by_channel.get((lowered, None))
                or self._on_other_channel(number)
            )
        else:
            known = self._no_channel
        source = known.source
        for name, own in known.fields:
            if own in fields:
                fields.setdefault(name, fields[own])
        for entry in known.open.satisfied_by(fields):
            source = _union((source, entry.source))
            for name, own in _pairs(entry.fields):
                if own in fields:
                    fields.setdefault(name, fields[own])
        return source if declared is None else declared_source(declared)

    def _on_other_channel(self, number: str) -> _KnownSource:
        """For an event of a channel that no entry names."""
        return self._other_channels.get(number) or self._other_channels[None]

    def reaches(self, rule: LogSource) -> bool:
        """Whether entries can derive every part the rule names; otherwise only events that name their source can match it."""
        of_product = [e for e in self.entries if rule.product is None or rule.product in e.products]
        categories = {None, *(name for e in of_product for name in e.source.categories)}
        services = {None, *(name for e in of_product for name in e.source.services)}
        return bool(of_product) and rule.category in categories and rule.service in services


def declared_source(declared: Mapping[str, Any]) -> EventSource:
    """Read the source that an event or bundle names: product, category, service, each one text or a list. Raises RuleError."""
    unknown = sorted(set(declared) - set(_PARTS))
    parts = [_texts(declared.get(name)) for name in _PARTS]
    if unknown or not any(parts):
        raise RuleError(f"a log source has {sorted(declared)}, expected some of {list(_PARTS)}, e.g. product: windows")
    return EventSource(*parts)


def _texts(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [] if value is None else [value]
    return tuple(str(v).lower() for v in values)


def read_entries(entries: Sequence[Mapping[str, Any]]) -> list[LogSourceEntry]:
    """Entries of a rules.yaml: `when` (field -> value or values, `*` for any), product, category, service, fields (a rule's field -> the
    event's, or several). Raises RuleError."""
    found = []
    for number, entry in enumerate(entries):
        where = f"logsources[{number}]"
        when, fields = entry.get("when"), entry.get("fields", {})
        if not isinstance(when, dict) or not when:
            raise RuleError(f"{where}: `when` is missing; say which events it is about, e.g. when: {{event.dataset: auditd}}")
        if not isinstance(fields, dict):
            raise RuleError(f"{where}: `fields` is a map of a rule's field name -> the event's")
        declared = {k: v for k, v in entry.items() if k not in ("when", "fields")}
        try:
            source = declared_source(declared)
        except RuleError as problem:
            raise RuleError(f"{where}: {problem}") from problem
        wanted = {str(name): frozenset(_texts(value)) for name, value in when.items()}
        if any(ANY_VALUE in wanted.get(name, ()) for name in (CHANNEL, EVENT_ID)):
            raise RuleError(f"{where}: {CHANNEL} and {EVENT_ID} need values, not {ANY_VALUE!r}; name the channels and ids")
        found.append(LogSourceEntry(wanted, source, {str(k): _names(v) for k, v in fields.items()}))
    return found


def _names(value: Any) -> tuple[str, ...]:
    return tuple(str(v) for v in value) if isinstance(value, list) else (str(value),)


def _pairs(fields: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    return ((name, own) for name, names in fields.items() for own in names)


def _satisfies(fields: Fields, when: Mapping[str, frozenset[str]]) -> bool:
    for name, values in when.items():
        value = fields.get(name)
        if value is None or (ANY_VALUE not in values and values.isdisjoint(t.lower() for t in texts_of(value))):
            return False
    return True


def _known_sources(
    entries: Sequence[LogSourceEntry], channel: str, opened: _Opened
) -> Iterator[tuple[tuple[str, str | None], _KnownSource]]:
    """By channel and id: for each id in the channel's entries, and with id None for any other."""
    ids = {number for entry in entries for number in entry.when.get(EVENT_ID, ())}
    return (((channel, number), _known_source(entries, channel, number, opened)) for number in (*ids, None))


def _known_source(entries: Sequence[LogSourceEntry], channel: str | None, number: str | None, opened: _Opened) -> _KnownSource:
    """entries: of the channel. channel None: for events that are not Windows records. number None: for ids that no entry names."""
    sure: list[LogSourceEntry] = []
    ask: list[LogSourceEntry] = []
    for entry in entries:
        if number not in entry.when.get(EVENT_ID, (number,)):
            continue
        (ask if set(entry.when) - {CHANNEL, EVENT_ID} else sure).append(entry)
    of_channel = {name for e in (*sure, *ask) if CHANNEL in e.when for name in e.products}
    product = EventSource((WINDOWS,) if channel is not None and (WINDOWS in of_channel or not of_channel) else ())
    fields = tuple(item for e in sure for item in _pairs(e.fields))
    return _KnownSource(_union((product, *(e.source for e in sure))), fields, opened.of(ask))


def _union(sources: Sequence[EventSource]) -> EventSource:
    return EventSource(
        _distinct(*[s.products for s in sources]),
        _distinct(*[s.categories for s in sources]),
        _distinct(*[s.services for s in sources]),
    )


def _distinct(*groups: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in groups for name in group))


@cache
def built_in_sources() -> LogSources:
    """Sources of the built-in entries alone. Nothing changes them, so they are made once."""
    return LogSources()


def _built_in() -> list[LogSourceEntry]:
    def on(channels: Sequence[str], ids: Sequence[int] = (), **more: Sequence[str]) -> dict[str, frozenset[str]]:
        when = {"Channel": channels, "EventID": [str(i) for i in ids], **more}
        return {name: frozenset(v.lower() for v in values) for name, values in when.items() if values}

    product = (WINDOWS,)
    entries = [
        LogSourceEntry(on(channels), EventSource(product, (), (service,))) for service, channels in windows.SERVICES.items()
    ]
    entries += [
        LogSourceEntry(on(channels, ids), EventSource(product, categories)) for channels, ids, categories in windows.CATEGORIES
    ]
    entries += [
        LogSourceEntry(on((windows.SYSMON,), (12,), EventType=types), EventSource(product, (category,)))
        for types, category in windows.REGISTRY_KEYS
    ]
    entries += [
        LogSourceEntry(on((windows.SECURITY,), (i,)), EventSource(product, c), {name: (own,) for name, own in fields.items()})
        for i, c, fields in windows.AUDITED
    ]
    return entries
