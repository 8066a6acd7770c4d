"""Reads the facts of a lineage graph from a store: bundles, what is served, the prediction log, the log of acts.

The caller hands in what the control plane knows of rollouts, because this plane does not import that one."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from lifecycle.governance.acts import ActsLog
from lifecycle.governance.archive.place import ArchiveError
from lifecycle.governance.archive.record_log import RecordLog
from lifecycle.governance.lineage.facts import AnswerFact, AnswersFact, BundleFact, RolloutFact, StoreFacts, distinct
from serving.audit.record import REFUSED
from serving.audit.segment_files import IrregularFile
from serving.loading.kept_revisions import kept_revisions
from serving.loading.served_file import ServedFile
from serving.models.errors import BundleError
from serving.models.store import BundleStore
from serving.spec import RevisionSpec, ServingSpec


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a record that say whose answer it is; the rest of the line is skipped."""

    receipt: str
    time_us: int
    model: str
    version: str
    revision: str
    source: str = ""


class _Answer(_Head, frozen=True, kw_only=True):
    """What a lineage says of one answer."""

    variant: str
    rows: int
    operating_point: str | None
    verdicts: list[str]
    trace_id: str | None
    event_times_us: dict[str, list[int] | dict[str, object]]


_T = TypeVar("_T")
_HEAD = msgspec.json.Decoder(_Head)
_ANSWER = msgspec.json.Decoder(_Answer)


def read_facts(
    store_dir: Path, log: RecordLog, rollouts: Iterable[RolloutFact] = (), answers: Iterable[AnswersFact] | None = None
) -> StoreFacts:
    """Everything that the store's folder and its logs say. A bundle that does not match its digest is left out. Raises NoteError for a
    line of the log of acts that is not an act. answers: their counts, if they are known; else the whole log is read."""
    return StoreFacts(
        bundles=tuple(_bundles(BundleStore(store_dir))),
        revisions=distinct((*_served(store_dir), *kept_revisions(store_dir))),
        rollouts=tuple(rollouts),
        answers=tuple(answers) if answers is not None else count_answers(log),
        acts=tuple(ActsLog(store_dir / "governance", signer=lambda: None, now_us=lambda: 0).read()),
    )


def count_answers(log: RecordLog, first_us: int = 0, last_us: int | None = None) -> tuple[AnswersFact, ...]:
    """Count records by revision, live and archived, of a span of time: microseconds since the epoch, both ends included; None: no end.

    Lines that are not records are skipped: `vedette audit verify` names them. So are records of bundles that were refused."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for head in _heads(log):
        if head.source == REFUSED or head.time_us < first_us or (last_us is not None and head.time_us > last_us):
            continue
        counts = found.setdefault((head.model, head.version, head.revision), [0, head.time_us, head.time_us])
        counts[0] += 1
        counts[1], counts[2] = min(counts[1], head.time_us), max(counts[2], head.time_us)
    return tuple(AnswersFact(*key, *counts) for key, counts in found.items())


def find_answer(log: RecordLog, receipt: str) -> AnswerFact | None:
    """The answer with this receipt, live or archived; None if there is none."""
    needle = msgspec.json.encode({"receipt": receipt})[1:-1]
    for entry in _entries(log):
        answer = _decoded(_ANSWER, entry) if needle in entry else None
        if answer is not None and answer.receipt == receipt:
            return _fact(answer)
    return None


def answer_in(line: bytes) -> AnswerFact | None:
    """The answer that a line of the log records; None if the line is no record of one."""
    answer = _decoded(_ANSWER, line)
    return _fact(answer) if answer is not None else None


def _fact(answer: _Answer) -> AnswerFact:
    facts = {
        "time_us": answer.time_us,
        "variant": answer.variant,
        "source": answer.source,
        "rows": answer.rows,
        "operating_point": answer.operating_point,
        "verdicts": {word: answer.verdicts.count(word) for word in dict.fromkeys(answer.verdicts)},
        "trace_id": answer.trace_id,
        "feature_views": sorted(answer.event_times_us),
    }
    return AnswerFact(answer.receipt, answer.model, answer.version, answer.revision, facts)


def _heads(log: RecordLog) -> Iterator[_Head]:
    for entry in _entries(log):
        head = _decoded(_HEAD, entry)
        if head is not None:
            yield head


def _entries(log: RecordLog) -> Iterator[bytes]:
    """The lines of all segments that can be read. `vedette audit verify` names the others."""
    for segment in log.segments():
        try:
            yield from segment.entries()
        except (IrregularFile, FileNotFoundError, ArchiveError):
            continue


def _decoded(decoder: msgspec.json.Decoder[_T], entry: bytes) -> _T | None:
    try:
        return decoder.decode(entry)
    except (ValueError, RecursionError):
        return None


def _bundles(store: BundleStore) -> Iterator[BundleFact]:
    for entry in store.entries():
        try:
            yield BundleFact(entry.digest, store.read(entry.digest).manifest)
        except BundleError:
            continue


def _served(store_dir: Path) -> Iterator[RevisionSpec]:
    spec = ServedFile(store_dir).read() or ServingSpec()
    for model in spec.models:
        yield model.revision
        yield from (variant.revision for variant in model.variants)
