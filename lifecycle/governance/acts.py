"""The log of governed acts: who did what to what, when and why, and the evidence that they saw. A chained log like the prediction log.

Promoting, aborting, approving, a threshold, a suppression, an erasure, a registry stage, a legal hold: each is one record here. An act is
recorded before it is carried out, and it is durable when `record` returns. Several processes may write: each holds the log's lock while it
writes. serving.audit.segments keeps the chain."""

import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from lifecycle.governance.shared_log import SharedLog
from serving.audit.keys.trust import read_pinned, trusted_folder
from serving.audit.segment_files import read_entries, segments_in
from serving.audit.signed_note import NoteError, Signer, signers_of

LOG: Final = "governance"
"""Name of the log within its folder."""
PREDICTIONS: Final = "audit"
"""Folder of the prediction log beside it, in a store."""
LABELS: Final = "labels"
"""Folder and name of the log of labels (lifecycle.labels.label_log), in a store."""
_SEGMENT_BYTES: Final = 16 * 1024 * 1024
_PROBE_BYTES: Final = 64 * 1024


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One governed act. Its JSON is one line of the log."""

    time_us: int
    """When, microseconds since the epoch, UTC."""
    actor: str
    """Who: a user's name, or `operator` where a policy acted."""
    action: str
    """What was done, as `noun.verb`: `rollout.promote`, `rollout.approve`, `registry.stage`, `record.erase`, ..."""
    subject: str
    """To what: `modelservice/default/flows`, `bundle/sha256:...`, `record/RECEIPT`."""
    reason: str
    evidence: Mapping[str, Any] = {}
    """What the actor saw: figures, digests, the approval's signature."""
    outcome: str = "accepted"
    """accepted or refused."""


def decode_act(entry: bytes, where: str) -> Act:
    """Decode one line of the log. Raises NoteError, which names `where`, if the line is not an act."""
    try:
        return msgspec.json.decode(entry, type=Act)
    except (ValueError, RecursionError) as problem:  # no JSON, no act, no UTF-8, or nested without end
        raise NoteError(
            f"{where}: is not a governed act ({problem}); `vedette audit verify` says what was changed in the log"
        ) from problem


def is_about(act: Act, models: Collection[str], bundles: Collection[str]) -> bool:
    """Whether an act's subject is the service of one of these models, in any namespace, or one of these bundles (`sha256:...` digests)."""
    kind, _, name = act.subject.partition("/")
    return (kind == "modelservice" and name.rpartition("/")[2] in models) or (kind == "bundle" and name in bundles)


class ActsLog:
    """The log of governed acts of one store, in `FOLDER/segment-*.jsonl`.

    signer: gives the key that signs the checkpoints; None leaves them unsigned. now_us: the clock, microseconds since the epoch, UTC."""

    def __init__(self, folder: Path, *, signer: Callable[[], Signer | None], now_us: Callable[[], int]) -> None:
        self.folder, self._signer = folder, signer
        self._log = SharedLog(
            folder,
            LOG,
            segment_bytes=_SEGMENT_BYTES,
            beside=(PREDICTIONS, LABELS),
            signer=signer,
            knows=self._knows,
            now_us=now_us,
        )

    def record(self, act: Act) -> str:
        """Append one act, sync it to disk with a checkpoint over it, and return the checkpoint's note.

        Raises OSError if the act cannot be stored, NoteError if the log does not match its last checkpoint. The caller must not act
        then."""
        with self._log.locked():
            return self._log.append([msgspec.json.encode(act) + b"\n"])

    def _knows(self, note: str) -> bool:
        """Whether a key of this store signed a checkpoint. Only such checkpoints are witnessed. While there is no key, every checkpoint
        is."""
        signer = self._signer()
        try:
            pinned = read_pinned(trusted_folder(self.folder.parent))
            return signer is None or bool(signers_of(note, [signer.verifier, *pinned]))
        except (OSError, NoteError):
            return False

    def check_writable(self, *, has_failed: bool) -> None:
        """See whether an act could be recorded now, without one. Raises OSError, SigningKeyError. has_failed: the last one could not be:
        the key is asked for, and some bytes are written and removed, because a full disk lets files be opened. A folder that is not there
        yet is made by the first act."""
        if not self.folder.is_dir():
            return
        os.close(os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
        if has_failed:
            self._signer()
            with tempfile.TemporaryFile(dir=self.folder) as probe:
                probe.write(bytes(_PROBE_BYTES))
                probe.flush()
                os.fsync(probe.fileno())

    def read(self) -> Iterator[Act]:
        """Yield every act, oldest first. The chain is not verified: `vedette audit verify` does that. Raises NoteError for a line that
        is not an act."""
        for files in segments_in(self.folder):
            if files.records.exists():
                yield from (
                    decode_act(entry, f"{files.records}, line {n}") for n, entry in enumerate(read_entries(files.records), 1)
                )
