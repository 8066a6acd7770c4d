"""Reads the files behind approvals: the people file and the log of governed acts, again whenever they change. The core judges them.

A log that cannot be read, or that does not match its last checkpoint, is reported as a problem. It is never taken for an empty log."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lifecycle.governance.acts import Act, ActsLog, decode_act
from lifecycle.governance.approvals.people import MOST_BYTES, NOBODY, People, PeopleFileError, read_people
from lifecycle.governance.approvals.recorded_state import GovernanceView, makers, recorded_state
from serving.audit.merkle import leaf_hash, root_of
from serving.audit.segment_files import newest_checkpoint, read_entries, segments_in
from serving.audit.signed_note import NoteError, Signer, SigningKeyError
from serving.files.bounded_files import read_bounded

Stamp = tuple[tuple[str, int, int], ...]


class ActNotRecorded(Exception):
    """A governed act could not be recorded, so it must not be carried out. The message says why, and the way out."""


class ApprovalDesk:
    """Reads people and acts, and records acts. One for each process that runs rollouts.

    folder: the log's folder; None keeps no log. people: the people file; it may be missing. signer: gives the key of the log's
    checkpoints. now_us: the clock, microseconds since the epoch. check_step: raises ValueError for an approval step that is not valid."""

    def __init__(
        self,
        folder: Path | None,
        people: Path | None,
        *,
        signer: Callable[[], Signer | None] = lambda: None,
        now_us: Callable[[], int],
        check_step: Callable[[Mapping[str, Any]], object] = lambda step: step,
    ) -> None:
        self.folder, self.people_file, self._check_step = folder, people, check_step
        self._log = None if folder is None else ActsLog(folder, signer=signer, now_us=now_us)
        self._acts: tuple[Act, ...] = ()
        self._stamp: Stamp | None = None
        self._people: People | None = NOBODY if people is None else None
        self._people_stamp = (0, 0)
        self._lock = threading.Lock()
        self.problem: str | None = None
        """Why the log or the file of people cannot be read; None: they can, or there are none."""
        self._unwritten: str | None = None

    @property
    def failing(self) -> str | None:
        """Why acts cannot be kept, or not be checked, since the last view or act; None: they can, or no log is kept."""
        return None if self.folder is None else self.problem or self._unwritten

    def view(
        self,
        service: str,
        bundles: Iterable[str] = (),
        *,
        checked: Iterable[str] = (),
        made_by: Mapping[str, str] | None = None,
    ) -> GovernanceView:
        """What one look at a service needs to judge approvals. If the people file could never be read, no approval counts.

        bundles: digests; whoever trained, pushed or promoted one of them must not approve. checked: ids of requests whose sender was
        authenticated. made_by: further people who must not approve, and what they did."""
        with self._lock:
            self.problem = None
            people = self._read_people()
            try:
                acts = self._read_acts()
            except (OSError, NoteError, SigningKeyError) as problem:
                self.problem = f"the log of governed acts cannot be read: {problem}"
                acts = None
            self._check_writable()
        found = None if acts is None or self.folder is None else recorded_state(acts, service)
        made = makers(acts or (), frozenset(bundles))
        unknown = (self.problem or "the file of people was not read") if people is None else ""
        return GovernanceView(service, people or NOBODY, found, {**(made_by or {}), **made}, frozenset(checked), unknown)

    def record(self, acts: Sequence[Act]) -> None:
        """Record acts before they are carried out. An act that an earlier, interrupted look recorded is not recorded again. Raises
        ActNotRecorded."""
        if self._log is None:
            return
        with self._lock:
            try:
                known = {_identity(act) for act in self._read_acts()}
                for act in acts:
                    if _identity(act) not in known:
                        self._log.record(act)
                self._unwritten = None
            except (OSError, NoteError, SigningKeyError) as problem:
                self._unwritten = f"acts cannot be recorded: {problem}"
                raise ActNotRecorded(
                    f"{', '.join(a.action for a in acts)}: could not be recorded in {self.folder}, so it was not done: {problem}"
                ) from problem

    def acts(self) -> tuple[Act, ...]:
        """Every act that a checkpoint covers, oldest first. Raises OSError, or NoteError if the log does not match its checkpoints."""
        with self._lock:
            return self._read_acts()

    def _check_writable(self) -> None:
        """Before an act is waiting: a log that cannot be written is known, and one that was mended too."""
        if self._log is None:
            return
        try:
            self._log.check_writable(has_failed=self._unwritten is not None)
            self._unwritten = None
        except (OSError, SigningKeyError) as problem:
            self._unwritten = f"acts cannot be recorded: {problem}"

    def _read_people(self) -> People | None:
        """The people file, read again if it changed. If it cannot be used, the people known so far stay valid. None: they were never
        known."""
        if self.people_file is None:
            return NOBODY
        try:
            stat = self.people_file.stat()
            stamp = stat.st_mtime_ns, stat.st_size
            if stamp != self._people_stamp:
                text = read_bounded(self.people_file, MOST_BYTES).decode()
                self._people = read_people(text, str(self.people_file), self._check_step)
                self._people_stamp = stamp
        except FileNotFoundError:
            self._people, self._people_stamp = NOBODY, (0, 0)
        except (OSError, UnicodeDecodeError, PeopleFileError) as problem:
            known = "no approval is taken" if self._people is None else "the people known so far stay valid"
            self.problem = f"the file of people cannot be used, so {known}: {problem}"
        return self._people

    def _read_acts(self) -> tuple[Act, ...]:
        if self.folder is None or self._log is None:
            return ()
        files = [p for s in segments_in(self.folder) for p in (s.records, s.checkpoints)]
        stamp = tuple((p.name, s.st_mtime_ns, s.st_size) for p in files if p.exists() for s in (p.stat(),))
        if stamp != self._stamp:
            acts = tuple(_proven(self.folder))
            if acts[: len(self._acts)] != self._acts:
                raise NoteError(f"{self.folder} holds other acts than before, or fewer; run `vedette audit verify`")
            self._acts, self._stamp = acts, stamp
        return self._acts


def _proven(folder: Path) -> Iterable[Act]:
    """The acts that checkpoints cover. Each segment is compared with its last checkpoint first. Raises NoteError, OSError."""
    for files in segments_in(folder):
        last = newest_checkpoint(files)
        if last is None:
            continue
        entries = list(read_entries(files.records))[: last.size]
        if len(entries) < last.size or root_of([leaf_hash(entry) for entry in entries]) != last.root:
            raise NoteError(f"{files.records}: its records do not match its last checkpoint; run `vedette audit verify`")
        yield from (decode_act(entry, f"{files.records}, line {number}") for number, entry in enumerate(entries, start=1))


def _identity(act: Act) -> tuple[Any, ...]:
    """The fields that identify an act. A look that was cut off before it acted is repeated, and then decides an act of the same
    identity."""
    seen = act.evidence
    is_of_its_moment = not seen.get("attempt") or act.action == "rollout.status-edit"
    once = seen.get("request") or (act.time_us if is_of_its_moment else None)
    return act.actor, act.action, act.subject, act.outcome, act.reason, once, seen.get("attempt"), seen.get("step")
