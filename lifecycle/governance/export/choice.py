"""Chooses what goes into an audit package: segments, records, acts and checkpoints. Pure: it reads only the lines that it is given."""

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
"""How much older a record may be than its segment's name says: the request took long, or somebody set the clock."""
MOST_CHECKPOINTS: Final = 100
"""About the most checkpoints of a whole segment that a package holds. Checking a signature takes Python milliseconds."""


class _Head(msgspec.Struct):
    time_us: int
    model: str = ""
    tenant: str = ""


_HEAD: Final = msgspec.json.Decoder(_Head)
_ACT: Final = msgspec.json.Decoder(Act)


@dataclass(frozen=True, slots=True)
class ExportChoice:
    """Which answers to export: by time in microseconds since the epoch (from inclusive, to exclusive) by model and by the
    caller's tenant. No model means all of them, and so does no tenant.

    is_whole: export whole segments, which prove that nothing is missing but include the records of others. Otherwise export only
    the chosen records, with their proofs."""

    from_us: int = 0
    to_us: int = 1 << 62
    models: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()
    is_whole: bool = True

    def may_hold(self, files: SegmentFiles, newest: Checkpoint | None) -> bool:
        """Whether a segment may hold records of that time. newest: its last checkpoint; a segment without a final one has no known end."""
        start_us = int(files.stem.split("-")[1])
        end_us = newest.time_us if newest is not None and newest.is_final else 1 << 62
        return start_us - EARLY_US < self.to_us and end_us >= self.from_us

    def wants_record(self, entry: bytes) -> bool:
        """Whether a record is chosen. A line that is not a record is not."""
        try:
            head = _HEAD.decode(entry)
        except (ValueError, RecursionError):  # no JSON, no UTF-8, or nested without end
            return False
        is_named = (not self.models or head.model in self.models) and (not self.tenants or head.tenant in self.tenants)
        return is_named and self._is_then(head.time_us)

    def wants_act(self, entry: bytes, bundles: Collection[str]) -> bool:
        """Whether an act is of that time and about these models: about their service, or about one of `bundles` (`sha256:...` digests).

        Acts have no tenant: where tenants are chosen, those about models that are chosen by name go along, and no others."""
        try:
            act = _ACT.decode(entry)
        except (ValueError, RecursionError):  # no JSON, no UTF-8, or nested without end
            return False
        is_any = not self.models and not self.tenants
        return self._is_then(act.time_us) and (is_any or is_about(act, self.models, bundles))

    def _is_then(self, time_us: int) -> bool:
        return self.from_us <= time_us < self.to_us


def last_signed(notes: Sequence[str], trust: Trust) -> tuple[str, Checkpoint] | None:
    """The note and content of the last checkpoint that a trusted key signed, or of the last one if no key is trusted. None: there is
    none."""
    for note in reversed(notes):
        try:
            if not trust.keys or trust.signers(note):
                return note, Checkpoint.parse(text_of(note))
        except NoteError:
            continue
    return None


def thinned(notes: Sequence[str], most: int) -> Iterator[str]:
    """About `most` of a segment's checkpoints at the most, evenly spread. Always kept: the last, and the first and last of its own
    writer."""
    own = [index for index, note in enumerate(notes) if "\nsealed_by " not in note]
    kept = {*own[:1], *own[-1:], *range(len(notes))[-1:], *range(0, len(notes), max(1, len(notes) // max(most, 1)))}
    yield from (note for index, note in enumerate(notes) if index in kept)
