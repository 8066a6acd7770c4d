"""Erasure: a person's key is destroyed. The act is recorded first, and a legal hold on their records prevents it."""

from collections.abc import Iterable
from typing import Final

from lifecycle.governance.archive.archiving import RecordsAct
from lifecycle.governance.archive.holds import HoldError, LegalHold
from lifecycle.governance.archive.query import LogQuery
from lifecycle.governance.archive.record_log import RecordLog
from serving.audit.personal.subject_keys import SubjectKeys

ERASE: Final = "subject.erase"


def erase_subject(
    log: RecordLog, keys: SubjectKeys, subject: str, reason: str, holds: Iterable[LegalHold], record: RecordsAct
) -> str | None:
    """Destroy the key of a subject; returns its id, or None if there is no key. The act names the id and never the person.

    Raises HoldError if a hold matches a record of the subject, OSError or NoteError if the act cannot be recorded. Nothing is erased
    then."""
    name = keys.subject(subject.encode())
    if not keys.has(name):
        return None
    for hold in holds:
        names_subject = f"contains(CAST(inputs AS VARCHAR), '{name}') OR contains(CAST(features AS VARCHAR), '{name}')"
        sql = f"SELECT count(*) FROM records WHERE ({names_subject}) AND (\n{hold.where}\n)"  # noqa: S608  # nosec B608  # it is run closed, as any query
        ((count,),) = LogQuery(log).run(sql).lines
        if count:
            raise HoldError(f"hold {hold.name} ({hold.reason}) matches {count} records of this subject; release it first")
    record(ERASE, f"subject/{name}", reason, {})
    keys.destroy(name)
    return name
