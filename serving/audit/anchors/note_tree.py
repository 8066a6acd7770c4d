"""How notes lie in a folder or an object store: one file for each checkpoint, made once, with a name that sorts by time.

    YYYY-MM-DD/HH/TIME-LOG-SEGMENT-SIZE.note

TIME: microseconds since the epoch, 16 digits, as the checkpoint says; day and hour are of that time, UTC. SEGMENT: 6 digits. SIZE: 12."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

from serving.audit.anchors.port import AnchorError
from serving.audit.checkpoint import Checkpoint
from serving.audit.signed_note import text_of

HOURS_LOOKED_AT: Final = 2
"""How many of the newest hours `newest` reads."""
_NAME: Final = re.compile(r"^(\d{16})-(.+)-(\d{6,})-(\d{12,})\.note$")


class NoteName(NamedTuple):
    """What the name of a note says."""

    time_us: int
    log: str
    segment: int
    size: int

    @classmethod
    def parse(cls, name: str) -> "NoteName | None":
        """Read a name; None for a file of another kind.

        >>> NoteName.parse("1700000000000000-71-ab-000002-000000000005.note")
        NoteName(time_us=1700000000000000, log='71-ab', segment=2, size=5)
        """
        match = _NAME.match(name)
        return cls(int(match[1]), match[2], int(match[3]), int(match[4])) if match is not None else None


def path_of(checkpoint: Checkpoint) -> str:
    """Where a checkpoint's note goes, below the anchor's root."""
    hour = datetime.fromtimestamp(checkpoint.time_us / 1e6, UTC).strftime("%Y-%m-%d/%H")
    return f"{hour}/{checkpoint.time_us:016d}-{checkpoint.log}-{checkpoint.segment:06d}-{checkpoint.size:012d}.note"


class NoteTree(ABC):
    """An Anchor over what can list, read and create files. An adapter gives these three."""

    label: str

    @abstractmethod
    def names_in(self, folder: str) -> list[str]:
        """The last parts of the names in a folder, unordered; none where it does not exist. Raises AnchorError."""

    @abstractmethod
    def content_of(self, path: str) -> bytes:
        """A file's content. Raises AnchorError."""

    @abstractmethod
    def create(self, path: str, content: bytes) -> bool:
        """Make a file, whole and durable; False if there is one. Raises AnchorError."""

    def publish(self, note: str) -> None:
        """See the port."""
        path, content = path_of(Checkpoint.parse(text_of(note))), note.encode()
        if not self.create(path, content) and self.content_of(path) != content:
            raise AnchorError(f"{self.label}: {path} holds another checkpoint: two writers use one log name, or it was forged")

    def newest(self, most: int) -> list[str]:
        """See the port."""
        newest: dict[str, str] = {}
        for folder in sorted(self._hours(newest_first=True, most=HOURS_LOOKED_AT)):
            for name in sorted(self.names_in(folder)):
                parsed = NoteName.parse(name)
                if parsed is not None:
                    newest.pop(parsed.log, None)
                    newest[parsed.log] = f"{folder}/{name}"
        return [self._note(path) for path in list(newest.values())[-most:]]

    def read(self) -> Iterator[str]:
        """See the port."""
        for folder in self._hours():
            yield from (self._note(f"{folder}/{name}") for name in sorted(self.names_in(folder)) if NoteName.parse(name))

    def close(self) -> None:  # noqa: B027  nothing is held open
        """See the port."""

    def _hours(self, *, newest_first: bool = False, most: int | None = None) -> Iterator[str]:
        found = 0
        for day in sorted(self.names_in(""), reverse=newest_first):
            for hour in sorted(self.names_in(day), reverse=newest_first):
                yield f"{day}/{hour}"
                found += 1
                if found == most:
                    return

    def _note(self, path: str) -> str:
        try:
            return self.content_of(path).decode()
        except UnicodeDecodeError as error:
            raise AnchorError(f"{self.label}: {path} is not a signed note") from error
