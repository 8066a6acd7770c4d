"""What somebody asks of the list of records: the fields of an address to a filter, and back. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from operators.console.log_index.moments import moment_us
from operators.console.log_index.record_queries import KINDS, RecordFilter, RecordKey, RecordKind

FIELDS: Final = ("actor", "action", "service", "entity", "receipt", "since", "until")
_MOST_TEXT: Final = 600


@dataclass(frozen=True, slots=True)
class AskedRecords:
    """The fields as they were sent, by name. problems: what is wrong with them, in words; such a field is passed over."""

    fields: Mapping[str, str]
    kind: RecordKind | None
    behind: RecordKey | None
    filter: RecordFilter
    problems: tuple[str, ...]

    def query(self, **changed: str) -> str:
        """The fields for an address, with some of them changed; empty ones are left out."""
        return urlencode({name: value for name, value in {"kind": self.kind or "", **self.fields, **changed}.items() if value})

    @property
    def is_narrowed(self) -> bool:
        """Whether not everything is asked for."""
        return bool(self.query())


def asked_of(query: Mapping[str, str], now: datetime, texts_of: Callable[[str], tuple[str, ...]]) -> AskedRecords:
    """Read the fields. texts_of: what an entity's name is looked up by."""
    problems: list[str] = []
    fields = {name: query.get(name, "").strip()[:_MOST_TEXT] for name in FIELDS}
    kind = next((one for one in KINDS if one == query.get("kind")), None)
    if query.get("kind") and kind is None:
        problems.append(f"{query['kind'][:40]!r} is not one of {', '.join(KINDS)}.")
    behind = None
    if query.get("behind"):
        try:
            behind = RecordKey.decode(query["behind"])
        except ValueError:
            problems.append("The address does not name a place in the list, so this is its beginning.")
    wanted = RecordFilter(
        kinds=(kind,) if kind else (),
        actor=fields["actor"],
        action=fields["action"],
        service=fields["service"],
        entities=texts_of(fields["entity"]) if fields["entity"] else None,
        receipt=fields["receipt"],
        since_us=moment_us(fields["since"], now, problems),
        until_us=moment_us(fields["until"], now, problems),
    )
    return AskedRecords(fields, kind, behind, wanted, tuple(problems))
