"""What goes into an audit package: which segments, records, acts and checkpoints. Pure, but for reading lines that it is given."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from lifecycle.governance.acts import Act, is_about
from serving.audit.checkpoint import Checkpoint
from serving.audit.keys.trust import Trust
from serving.audit.segment_files import SegmentFiles
from serving.audit.signed_note import NoteError, text_of

EARLY_US: Final = 3600 * 1_000_000
"""A record may be this much older than the name of its segment says: requests that were long under way, a clock that was set."""
MOST_CHECKPOINTS: Final = 100
"""Checkpoints of a whole segment that go along: checking a signature takes Python milliseconds. The last is always one of them."""


class _Head(msgspec.Struct):
    time_us: int
    model: str = ""


_HEAD: Final = msgspec.json.Decoder(_Head)
_ACT: Final = msgspec.json.Decoder(Act)


@dataclass(frozen=True, slots=True)
class ExportChoice:
    """Which answers: by time in microseconds since the epoch (from inclusive, to exclusive) and by model; no model means all.

    is_whole: whole segments, which show that nothing is missing, other models' records among them; else the chosen records, with proofs."""

    from_us: int = 0
    to_us: int = 1 << 62
    models: frozenset[str] = frozenset()
    is_whole: bool = True

    def may_hold(self, files: SegmentFiles, newest: Checkpoint | None) -> bool:
        """Whether a segment may have records of that time. newest: its last checkpoint; None or an open segment may go on for ever."""
        start_us = int(files.stem.split("-")[1])
        end_us = newest.time_us if newest is not None and newest.is_final else 1 << 62
        return start_us - EARLY_US < self.to_us and end_us >= self.from_us

    def wants_record(self, entry: bytes) -> bool:
        """Whether a record is chosen; a line that is none is not."""
        try:
            head = _HEAD.decode(entry)
        except (ValueError, RecursionError):  # no JSON, no UTF-8, or nested without end
            return False
        return self._is_then(head.time_us) and (not self.models or head.model in self.models)

    def wants_act(self, entry: bytes, bundles: Collection[str]) -> bool:
        """Whether an act is of that time and about these models: their service, or a bundle of theirs (`sha256:...`)."""
        try:
            act = _ACT.decode(entry)
        except (ValueError, RecursionError):  # no JSON, no UTF-8, or nested without end
            return False
        return self._is_then(act.time_us) and (not self.models or is_about(act, self.models, bundles))

    def _is_then(self, time_us: int) -> bool:
        return self.from_us <= time_us < self.to_us


def last_signed(notes: Sequence[str], trust: Trust) -> tuple[str, Checkpoint] | None:
    """The last checkpoint that a trusted key signed; where no key is trusted, the last."""
    for note in reversed(notes):
        try:
            if not trust.keys or trust.signers(note):
                return note, Checkpoint.parse(text_of(note))
        except NoteError:
            continue
    return None


def thinned(notes: Sequence[str], most: int) -> Iterator[str]:
    """At most about `most` of a segment's checkpoints, evenly; the last one, and the first and last of its own writer, always."""
    own = [index for index, note in enumerate(notes) if "\nsealed_by " not in note]
    kept = {*own[:1], *own[-1:], *range(len(notes))[-1:], *range(0, len(notes), max(1, len(notes) // max(most, 1)))}
    yield from (note for index, note in enumerate(notes) if index in kept)
