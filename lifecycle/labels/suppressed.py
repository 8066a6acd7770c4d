"""What suppressions would do to the verdicts of the prediction log, and how many of these rows analysts called attacks.

Pure but for the bundles that it reads rows by; no model runs. The verdicts before suppressions are those of the records."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.governance.replay.recompute import MODEL_WIDTHS, NotReplayable, group_of
from lifecycle.governance.replay.revisions import RevisionBook, Unexplained
from lifecycle.monitoring.windows.answered import event_key
from serving.audit.encoding import decode_record
from serving.audit.personal.redaction import is_redacted, reveal
from serving.audit.personal.subject_keys import SubjectKeys
from serving.audit.record import AuditRecord
from serving.errors import ServingError
from serving.models.verdicts import VERDICTS
from serving.ports import Suppressions
from serving.scoring.loaded_revision import LoadedRevision
from serving.scoring.rules.suppressing import changes_of, open_rows

_CODES: Final = {word: code for code, word in enumerate(VERDICTS)}


@dataclass(slots=True)
class SuppressionEffect:
    """What one entry does. attacks, benign: of the rows that it suppresses, those that analysts called so."""

    alerts: int = 0
    investigated: int = 0
    attacks: int = 0
    benign: int = 0

    @property
    def rows(self) -> int:
        """Rows that it suppresses."""
        return self.alerts + self.investigated


@dataclass(slots=True)
class SuppressionTrial:
    """Entries over a log. alerts, investigated: rows with these verdicts before suppressions. unread: records that could not be read."""

    effects: dict[str, SuppressionEffect]
    records: int = 0
    rows: int = 0
    alerts: int = 0
    investigated: int = 0
    unread: int = 0
    why_unread: str = ""


def try_suppressions(
    ids: Sequence[str],
    compiled: Suppressions,
    records: Iterable[tuple[AuditRecord, frozenset[str]]],
    book: RevisionBook,
    labels: Mapping[str, str],
    now_us: int,
    on_progress: Callable[[int], None] = lambda count: None,
) -> SuppressionTrial:
    """Judge each record's rows.

    records: with the columns of which something is gone. labels: the analysts' words by event. now_us: as of when entries have expired."""
    trial = SuppressionTrial({name: SuppressionEffect() for name in ids})
    revisions: dict[str, LoadedRevision] = {}
    for record, gone in records:
        trial.records += 1
        trial.rows += record.rows
        codes = verdicts_before(record)
        trial.alerts += int((codes == 2).sum())
        trial.investigated += int((codes == 1).sum())
        if not gone.isdisjoint(compiled.columns):
            trial.unread, trial.why_unread = (
                trial.unread + 1,
                f"columns {sorted(gone)} are redacted, or their person was erased",
            )
        elif np.isin(codes, (1, 2)).any():
            _try_one(trial, compiled, record, codes, book, revisions, labels, now_us)
        on_progress(1)
    return trial


def opened(lines: Iterable[bytes], keys: SubjectKeys) -> Iterator[tuple[AuditRecord, frozenset[str]]]:
    """The records with what can be decrypted, and the columns of which something is gone."""
    for line in lines:
        record = decode_record(line)
        if not record.is_answer:
            continue
        yield reveal(record, keys) if is_redacted(line) else (record, frozenset())


def verdicts_before(record: AuditRecord) -> NDArray[np.intp]:
    """Codes of the record's verdicts before suppressions; shape (n,)."""
    codes = np.array([_CODES[word] for word in record.verdicts], dtype=np.intp)
    for entry in record.suppressed:
        codes[entry.row] = _CODES[entry.before]
    return codes


def _try_one(
    trial: SuppressionTrial,
    compiled: Suppressions,
    record: AuditRecord,
    codes: NDArray[np.intp],
    book: RevisionBook,
    revisions: dict[str, LoadedRevision],
    labels: Mapping[str, str],
    now_us: int,
) -> None:
    revision = revisions.get(record.revision)
    if revision is None:
        found = book.revision(record)
        if isinstance(found, Unexplained):
            trial.unread, trial.why_unread = trial.unread + 1, found.reason
            return
        revision = revisions[record.revision] = replace(found, suppressions=compiled)
    try:
        group = group_of(revision, [record], MODEL_WIDTHS[0])
        changes = changes_of(group, codes, open_rows(group, codes, now_us), now_us)
    except (NotReplayable, ServingError, KeyError, ValueError) as problem:
        trial.unread, trial.why_unread = trial.unread + 1, str(problem)
        return
    for row, name, _ in changes:
        effect = trial.effects[name]
        effect.alerts += int(codes[row] == 2)
        effect.investigated += int(codes[row] == 1)
        number = row if record.row_numbers is None else int(record.row_numbers[row])
        word = labels.get(event_key(record.receipt, number, is_alone=record.rows == 1 and record.row_numbers is None))
        effect.attacks += word == "attack"
        effect.benign += word == "benign"
