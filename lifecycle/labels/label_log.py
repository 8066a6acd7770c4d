"""The log of labels: every word of an analyst, chained and signed like the prediction log; the last word on each event counts.

A label is durable when `give` returns. Several processes may write: each holds the log's lock while it does. The index is in memory and is
always what the lines say: it is read when the log is opened, and what was appended since is read before each use. The chain itself is in
serving.audit.segments."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec

from lifecycle.governance.acts import LABELS, PREDICTIONS
from lifecycle.governance.acts import LOG as ACTS
from lifecycle.governance.shared_log import SharedLog
from lifecycle.labels.draw import Draw, Drawn, with_selection
from lifecycle.labels.errors import LabelConflict, LabelsLost
from lifecycle.labels.label import Label
from serving.audit.segment_files import open_to_read, segments_with_records
from serving.audit.signed_note import NoteError, Signer
from serving.store_layout import say_layout

LabelOutcome = Literal["given", "repeated", "corrected"]
"""given: the first word on its event. repeated: its id is known with the same word. corrected: there was an earlier word on its event."""

_SEGMENT_BYTES: Final = 4 * 1024 * 1024


class LabelLine(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One line of the log."""

    time_us: int
    """When it was recorded, microseconds since the epoch, UTC; the label has when it was given."""
    label: Label | None = None
    draw: Draw | None = None
    """One of both is set."""

    def encoded(self) -> bytes:
        """The line, with its newline."""
        return msgspec.json.encode(self) + b"\n"


_DECODER: Final = msgspec.json.Decoder(LabelLine)


def _now_us() -> int:
    return time.time_ns() // 1000


class LabelLog:
    """The labels of one store, in `FOLDER/segment-*.jsonl`. One object may be used by several threads.

    signer: the key of its checkpoints. knows: whether a key of this store signed a checkpoint of another log; only such are witnessed."""

    def __init__(
        self,
        folder: Path,
        *,
        signer: Callable[[], Signer | None] = lambda: None,
        knows: Callable[[str], bool] = lambda note: True,
        now_us: Callable[[], int] = _now_us,
    ) -> None:
        self.folder = folder
        self._now_us = now_us
        self._log = SharedLog(
            folder,
            LABELS,
            segment_bytes=_SEGMENT_BYTES,
            beside=(PREDICTIONS, ACTS),
            signer=signer,
            knows=knows,
            now_us=now_us,
        )
        self._index = _Index(folder)
        self._using = threading.RLock()

    def give(self, label: Label) -> LabelOutcome:
        """Take one label. Raises LabelConflict, LabelsLost, NoteError as `give_all` does."""
        return self.give_all([label])[0]

    def give_all(self, labels: Sequence[Label]) -> list[LabelOutcome]:
        """Take labels, in one append and one sync: all of them or none. What each is, in their order.

        Raises LabelConflict if an id was used for another word, LabelsLost if they cannot be made durable, NoteError if the
        log does not hold what its last checkpoint says. Then none of them is given, and giving them again is safe."""
        with self._writing():
            return self._give(labels)

    def record_draw(self, draw: Draw) -> None:
        """Keep what was drawn for labelling: labels that are given to its events later say so by themselves. A draw that is known by its id
        is kept once.

        Raises LabelConflict if its slice reaches into one that was drawn before, LabelsLost, NoteError."""
        with self._writing():
            self._index.catch_up()
            known = self._index.draws.get(draw.model, [])
            if any(one.draw_id == draw.draw_id for one in known):
                self._log.append([])  # its writer may have died before it synced
                return
            for one in known:
                if (
                    draw.is_of_a_slice
                    and one.is_of_a_slice
                    and max(draw.since_us, one.since_us) < min(draw.until_us, one.until_us)
                ):
                    raise LabelConflict(
                        f"draw {draw.draw_id} of {draw.model} covers time that draw {one.draw_id} already covers, and a slice of "
                        "time may be drawn only once; somebody else drew meanwhile: ask for the queue again"
                    )
            self._log.append([LabelLine(time_us=self._now_us(), draw=draw).encoded()])
            self._index.catch_up()

    def draws(self, model: str) -> list[Draw]:
        """What was drawn of a model, in the order of the log. Raises NoteError, OSError."""
        with self._using:
            self._index.catch_up()
            return list(self._index.draws.get(model, ()))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._using:
            try:
                say_layout(self.folder.parent)  # it may be the first write to the store
                with self._log.locked():
                    yield
            except OSError as problem:
                self._index = _Index(self.folder)  # what stayed of the lines is read again
                raise LabelsLost(
                    f"{self.folder}: the labels could not be stored ({problem.strerror or problem}); make room or restore the folder, "
                    "then give them again: a label that was stored is not counted twice",
                ) from problem

    def current(self, model: str) -> Mapping[str, Label]:
        """The last word on each event of a model, as it is now: by the time given, then by the log. Raises NoteError, OSError."""
        with self._using:
            self._index.catch_up()
            return dict(self._index.current.get(model, {}))

    def first_words(self, model: str) -> Mapping[str, Label]:
        """The first word on each event of a model that is not unsure, in the order of the log; an unsure one where there is no other. It
        does not change any more: for evidence that is counted once. Raises NoteError, OSError."""
        with self._using:
            self._index.catch_up()
            return dict(self._index.first.get(model, {}))

    def models(self) -> list[str]:
        """Models that have labels, sorted. Raises NoteError, OSError."""
        with self._using:
            self._index.catch_up()
            return sorted(self._index.current)

    def history(self, event: str) -> list[Label]:
        """Every word on an event, the one that counts last. Raises NoteError, OSError."""
        with self._using:
            self._index.catch_up()
            found = [label for label in self._index.labels.values() if label.event == event]
        return sorted(found, key=lambda label: label.time_us)  # stable: labels of one time stay in the log's order

    def read(self) -> list[Label]:
        """Every label in the order of the log. Proves nothing: `vedette audit verify` does. Raises NoteError, OSError."""
        with self._using:
            self._index.catch_up()
            return list(self._index.labels.values())

    def kept(self, label_ids: Iterable[str]) -> list[Label]:
        """The labels with these ids, as the log has them; ids that it does not have are left out. Raises NoteError, OSError."""
        with self._using:
            self._index.catch_up()
            return [self._index.labels[label_id] for label_id in label_ids if label_id in self._index.labels]

    def _give(self, labels: Sequence[Label]) -> list[LabelOutcome]:
        self._index.catch_up()
        fresh: dict[str, Label] = {}
        words: set[tuple[str, str]] = set()
        outcomes: list[LabelOutcome] = []
        for label in labels:
            known = self._index.labels.get(label.label_id) or fresh.get(label.label_id)
            if known is not None and not known.says_the_same(label):
                raise LabelConflict(
                    f"label_id {label.label_id!r} already names another label ({known.analyst}: {known.event} is {known.verdict}); "
                    "give a correction its own id"
                )
            place = label.model, label.event
            if known is not None:
                outcomes.append("repeated")
                continue
            has_word = place in words or label.event in self._index.current.get(label.model, {})
            outcomes.append("corrected" if has_word else "given")
            fresh[label.label_id] = with_selection(label, self._index.drawn.get(label.model, {}))
            words.add(place)
        now_us = self._now_us()
        self._log.append([LabelLine(time_us=now_us, label=label).encoded() for label in fresh.values()])
        self._index.catch_up()
        return outcomes


class _Index:
    """What the lines of the log say, as far as they were read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._forget()

    def _forget(self) -> None:
        self.labels: dict[str, Label] = {}
        """By id, in the order of the log."""
        self.current: dict[str, dict[str, Label]] = {}
        """By model and event: the last word."""
        self.first: dict[str, dict[str, Label]] = {}
        """By model and event: the first word that is not unsure; the first one as long as all are."""
        self.draws: dict[str, list[Draw]] = {}
        """By model."""
        self.drawn: dict[str, dict[str, Drawn]] = {}
        """By model and event: why it was drawn. A random sample goes before a choice."""
        self._read: dict[Path, int] = {}
        """Bytes of whole lines that were read, by segment."""

    def catch_up(self) -> None:
        """Read what was appended. Raises NoteError for a line that is no label, OSError."""
        paths = [files.records for files in segments_with_records(self._folder)] if self._folder.is_dir() else []
        sizes = {path: path.stat().st_size for path in paths}
        if any(sizes.get(path, -1) < read for path, read in self._read.items()):  # lines that could not be synced were cut off
            self._forget()
        for path in paths:
            if sizes[path] > self._read.get(path, 0):
                self._take(path)

    def _take(self, path: Path) -> None:
        start = self._read.get(path, 0)
        with open_to_read(path) as file:
            file.seek(start)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        at = 0
        for line in whole.split(b"\n")[:-1]:
            try:
                self._add(_DECODER.decode(line))
            except (ValueError, RecursionError) as problem:
                raise NoteError(
                    f"{path}, byte {start + at}: is not a label ({problem}); `vedette audit verify` says what was changed in the log"
                ) from problem
            at += len(line) + 1
            self._read[path] = start + at

    def _add(self, line: LabelLine) -> None:
        if line.draw is not None:
            self.draws.setdefault(line.draw.model, []).append(line.draw)
            drawn = self.drawn.setdefault(line.draw.model, {})
            for event, why in line.draw.drawn().items():
                if drawn.get(event, ("", None))[1] is None:
                    drawn[event] = why
        label = line.label
        if label is None or label.label_id in self.labels:  # written by nobody of ours: the first counts
            return
        self.labels[label.label_id] = label
        words = self.current.setdefault(label.model, {})
        first = self.first.setdefault(label.model, {})
        if label.event not in first or first[label.event].verdict == "unsure":
            first[label.event] = label
        before = words.get(label.event)
        if before is None or label.time_us >= before.time_us:
            words[label.event] = label
