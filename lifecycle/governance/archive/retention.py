"""Retention: which segments are past their time, and their removal. Legal holds win over every policy.

The decision is pure. A segment may go when the newest record of each of its models is older than that model's time, and no hold matches
any of its records. It is verified before it goes: one that is not what was signed is evidence, and stays."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from lifecycle.governance.archive.archiving import RecordsAct
from lifecycle.governance.archive.place import SUFFIX
from lifecycle.governance.archive.query import LogQuery, QueryError
from lifecycle.governance.archive.record_log import LogSegment, RecordLog
from lifecycle.governance.archive.verifying import why_not_as_signed
from serving.audit.keys.trust import Trust
from serving.audit.segment_files import newest_checkpoint
from serving.audit.signed_note import Signer
from serving.audit.tombstones import Tombstone, remove_segment, write_tombstone

DEFAULT: Final = "default"
_DAY_US: Final = 86_400_000_000
_UNITS: Final = {"d": _DAY_US, "w": 7 * _DAY_US, "y": 36_525 * _DAY_US // 100}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,4})([dwy])")
_MODEL: Final = re.compile(r"[A-Za-z0-9_.-]+")
FOREVER: Final = "forever"


class RetentionError(Exception):
    """A policy is not valid, or a segment must not be removed; the message says why."""


class NotAsSigned(RetentionError):
    """The segment does not match what was signed, so it is kept as evidence. An act records that."""


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long records are kept: model -> microseconds, None for ever. The key `default` is for every other model."""

    keep_us: Mapping[str, int | None]

    @classmethod
    def parse(cls, text: str) -> "RetentionPolicy":
        """Read `7y`, or `flows=3y,default=7y`: d days, w weeks, y years of 365.25 days, or `forever`. Raises RetentionError.

        >>> RetentionPolicy.parse("flows=10d").keep_us
        {'default': None, 'flows': 864000000000}
        """
        found: dict[str, int | None] = {DEFAULT: None}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, is_named, duration = part.rpartition("=")
            if is_named and not _MODEL.fullmatch(name.strip()):
                raise RetentionError(
                    f"retention {part!r}: {name!r} is not the name of a model; separate several parts by commas"
                )
            found[name.strip() if is_named else DEFAULT] = _duration_us(duration.strip(), part)
        return cls(found)

    def of(self, model: str) -> int | None:
        """How long records of a model are kept, microseconds; None: forever."""
        return self.keep_us.get(model, self.keep_us[DEFAULT])


@dataclass(frozen=True, slots=True)
class SegmentAge:
    """A segment, and the time of the newest record of each model in it, microseconds since the epoch."""

    segment: LogSegment
    newest_us: Mapping[str, int]

    @property
    def name(self) -> str:
        """LOG/NUMBER."""
        return f"{self.segment.files.log}/{self.segment.files.number}"


@dataclass(frozen=True, slots=True)
class RetentionChoice:
    """A segment that is past its time. held_by: the holds that match its records; it stays while there is one."""

    segment: LogSegment
    name: str
    reason: str
    held_by: tuple[str, ...] = ()


def choose(
    ages: Collection[SegmentAge], policy: RetentionPolicy, now_us: int, held: Mapping[str, tuple[str, ...]]
) -> list[RetentionChoice]:
    """The segments past their time: of each model in them, the newest record is too old. held: LOG/NUMBER -> the holds that match."""
    found = []
    for age in ages:
        kept = {model: policy.of(model) for model in age.newest_us}
        are_past = [keep is not None and age.newest_us[model] + keep < now_us for model, keep in kept.items()]
        if are_past and all(are_past):
            words = ", ".join(f"{model} is kept {_words(keep)}" for model, keep in sorted(kept.items()))
            found.append(RetentionChoice(age.segment, age.name, f"past retention: {words}", held.get(age.name, ())))
    return found


def ages_of(log: RecordLog) -> list[SegmentAge]:
    """The age of every finished segment that has its records."""
    finished = [segment for segment in log.segments() if segment.until_us() != float("inf")]
    by_name: dict[str, dict[str, int]] = {}
    query = LogQuery(log, only=[segment.files.stem for segment in finished])
    sql = "SELECT segment, model, max(time_us) FROM records GROUP BY segment, model"
    for name, model, newest in query.run(sql, most_rows=10_000_000).lines:
        by_name.setdefault(name, {})[model] = newest
    found = [SegmentAge(s, by_name.get(f"{s.files.log}/{s.files.number}", {})) for s in finished]
    return [age for age in found if age.newest_us]


def held_segments(log: RecordLog, holds: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """LOG/NUMBER -> the holds that match one of its records. holds: name -> condition. Raises QueryError if a condition cannot be
    evaluated."""
    found: dict[str, tuple[str, ...]] = {}
    for name, where in holds.items():
        try:
            lines = LogQuery(log).run(held_query(where), most_rows=10_000_000).lines
        except QueryError as error:
            raise QueryError(f"hold {name}: {error}; nothing is removed while a hold cannot be evaluated") from error
        for (segment,) in lines:
            found[segment] = (*found.get(segment, ()), name)
    return found


def held_query(where: str) -> str:
    """The SQL query for the segments that a condition matches."""
    return f"SELECT DISTINCT segment FROM records WHERE (\n{where}\n)"  # noqa: S608  # nosec B608  # it is run closed, as any query


@dataclass(frozen=True, slots=True)
class Retention:
    """Removes segments. signer: signs the tombstones. by: who removes. trust: the keys whose checkpoints count; if it has none, unsigned
    ones count."""

    signer: Callable[[], Signer | None]
    now_us: Callable[[], int]
    record: RecordsAct
    by: str
    trust: Trust

    def remove(self, choice: RetentionChoice) -> bool:
        """Remove a segment; False if it is not finished or a running writer uses it. The act and the tombstone are on disk before the
        records go.

        Raises RetentionError if a hold matches the segment; NotAsSigned, after the act `retention.keep`, if it does not match what was
        signed. Nothing is removed then."""
        if choice.held_by:
            raise RetentionError(f"segment {choice.name} is held by {', '.join(choice.held_by)}; release the hold first")
        files, archive = choice.segment.files, choice.segment.archive
        final = newest_checkpoint(files)
        if final is None or not final.is_final:
            return False
        problem = why_not_as_signed(choice.segment, self.trust)
        if problem:
            self.record("retention.keep", f"segment/{choice.name}", problem, {"records": final.size})
            raise NotAsSigned(problem)
        self.record("retention.remove", f"segment/{choice.name}", choice.reason, {"records": final.size})
        if archive is None:
            return remove_segment(files, self.signer(), now_us=self.now_us(), reason=choice.reason, by=self.by)
        stone = Tombstone.over(final, time_us=self.now_us(), reason=choice.reason, by=self.by)
        write_tombstone(files.folder, stone, self.signer())
        for name in (f"{files.stem}{SUFFIX}", f"chain/{files.hashes.name}"):
            archive.remove(name)
        return True


def _duration_us(text: str, part: str) -> int | None:
    if text == FOREVER:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        raise RetentionError(f"retention {part!r}: expected MODEL=DURATION or DURATION, such as 90d, 26w, 7y or forever")
    return int(match[1]) * _UNITS[match[2]]


def _words(keep_us: int | None) -> str:
    return FOREVER if keep_us is None else f"{keep_us / _DAY_US:g} days"
