"""Publishes checkpoints to one anchor in a thread of its own, so that no answer and no record waits for it.

When to publish and what waits meanwhile is decided in serving.audit.anchors.backlog. The thread also reads what other logs published
there, for checkpoints of this log to witness, and sees whether the anchor still holds what this process published."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from serving.audit.anchors.backlog import AnchorBacklog
from serving.audit.anchors.port import Anchor, AnchorError
from serving.audit.checkpoint import Checkpoint, Witness
from serving.audit.signed_note import NoteError, text_of

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 600.0
"""Time between two readings of what others published."""
MOST_SEEN: Final = 64
"""Logs that are looked at then."""


class AnchorPublisher:
    """Takes checkpoints without waiting, and publishes them.

    every_s: time between two publications; the final checkpoint of a segment goes at once. also: newest notes of logs that other
    processes write, read before each publication and at least every `every_s`. is_trusted: whether another log's note may be witnessed."""

    def __init__(
        self,
        anchor: Anchor,
        *,
        every_s: float,
        also: Callable[[], Iterable[str]] = tuple,
        is_trusted: Callable[[str], bool] = lambda note: False,
        now_s: Callable[[], float] = time.monotonic,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._anchor, self._every_s, self._look_every_s = anchor, every_s, look_every_s
        self._also, self._is_trusted, self._now_s = also, is_trusted, now_s
        self.label = anchor.label
        self._backlog = AnchorBacklog(every_s)
        self._changed = threading.Condition()
        self._is_closing = False
        self._look_s = float("-inf")
        self._last: Checkpoint | None = None
        self._seen_also: dict[str, str] = {}
        self._rolled_back = ""
        self.others: tuple[Witness, ...] = ()
        """What other logs said of themselves when the anchor was last read."""
        self.published_s = 0.0
        """When a checkpoint was last published, seconds since the epoch; 0: not yet."""
        self._thread = threading.Thread(target=self._run, name="audit-anchor", daemon=True)
        self._thread.start()

    def offer(self, note: str) -> None:
        """Take the newest checkpoint of a log. Raises NoteError for an invalid note."""
        checkpoint = Checkpoint.parse(text_of(note))
        with self._changed:
            self._backlog.offer(checkpoint.log, note, self._now_s(), is_urgent=checkpoint.is_final)
            self._changed.notify()

    @property
    def problem(self) -> str:
        """What is wrong with the anchor, and what happens instead; empty if nothing is."""
        if self._rolled_back:
            return self._rolled_back
        why = self._backlog.problem
        return f"checkpoints are not anchored; the newest one is kept and sent again: {why}" if why else ""

    @property
    def counts(self) -> tuple[int, int, int]:
        """Checkpoints published, tries that failed, checkpoints given up."""
        return self._backlog.published, self._backlog.failed, self._backlog.given_up

    def lag_s(self) -> float:
        """How long the longest waiting checkpoint has waited, seconds."""
        with self._changed:
            return self._backlog.lag_s(self._now_s())

    def close(self, timeout_s: float = 10.0) -> None:
        """Try once more to publish what waits, then stop. Closing twice is closing once."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.error("%s did not answer within %s s; the last checkpoint may not have been published", self.label, timeout_s)

    def _run(self) -> None:
        while self._wait():
            self._take_also()
            if self._is_due():
                self._publish()
                self._look()
        self._take_also()
        self._publish()
        self._anchor.close()

    def _is_due(self) -> bool:
        with self._changed:
            due_s = self._backlog.due_s()
            return due_s is not None and due_s <= self._now_s()

    def _wait(self) -> bool:
        """Wait until something is due, an interval at most; False once it is closing."""
        with self._changed:
            until_s = self._now_s() + self._every_s
            while not self._is_closing:
                due_s = self._backlog.due_s()
                left_s = min(until_s, until_s if due_s is None else due_s) - self._now_s()
                if left_s <= 0:
                    return True
                self._changed.wait(left_s)
        return False

    def _take_also(self) -> None:
        try:
            for note in self._also():
                name = Checkpoint.parse(text_of(note)).log
                if self._seen_also.get(name) != note:
                    self._seen_also[name] = note
                    self.offer(note)
        except (NoteError, OSError) as error:
            log.warning("a checkpoint cannot be read, so it is not anchored: %s", error)

    def _publish(self) -> None:
        with self._changed:
            waiting = self._backlog.waiting()
        try:
            for name, note in waiting:
                self._anchor.publish(note)
                self._remember(Checkpoint.parse(text_of(note)))
                with self._changed:
                    self._backlog.succeeded(name, note)
                    self.published_s = time.time()
        except Exception as error:  # whatever it is, it must not end the thread
            if not isinstance(error, AnchorError | NoteError):
                log.exception("%s: unexpected error while anchoring checkpoints", self.label)
            self._refused(str(error))
            return
        if self._backlog.problem:
            log.warning("%s accepts checkpoints again", self.label)
        with self._changed:
            self._backlog.done(self._now_s())

    def _remember(self, published: Checkpoint) -> None:
        if self._last is None or published.time_us >= self._last.time_us:
            self._last = published

    def _refused(self, problem: str) -> None:
        if not self._backlog.problem:
            log.error("checkpoints are not anchored; the newest one is kept and sent again: %s", problem)
        with self._changed:
            self._backlog.refused(problem, self._now_s())

    def _look(self) -> None:
        if self._backlog.problem or self._now_s() - self._look_s < self._look_every_s:
            return
        self._look_s = self._now_s()
        try:
            found = [(Checkpoint.parse(text_of(note)), note) for note in self._anchor.newest(MOST_SEEN)]
        except (AnchorError, NoteError) as error:
            log.warning("the anchored checkpoints of other logs cannot be read: %s", error)
            return
        was_known, self._rolled_back = (
            bool(self._rolled_back),
            rolled_back([claim for claim, _ in found], self._last, self.label),
        )
        if self._rolled_back and not was_known:
            log.error("%s", self._rolled_back)
        self.others = tuple(
            Witness(claim.log, claim.segment, claim.size, claim.root) for claim, note in found if self._is_trusted(note)
        )


def offer_to(publishers: Sequence[AnchorPublisher]) -> Callable[[str], None]:
    """Hands a checkpoint's note to every publisher."""

    def offer(note: str) -> None:
        for publisher in publishers:
            publisher.offer(note)

    return offer


def rolled_back(found: Sequence[Checkpoint], last: Checkpoint | None, label: str) -> str:
    """Why what an anchor holds as its newest cannot be true, after `last` was published there; empty if it can. Pure.

    What was published last sorts last by its time, so the newest are never all older, and those of its log never say less."""
    if last is None:
        return ""
    own = [claim for claim in found if claim.log == last.log]
    is_gone = all(claim.time_us < last.time_us for claim in found)
    if is_gone or any((claim.segment, claim.size) < (last.segment, last.size) for claim in own):
        return (
            f"{label} no longer holds the published checkpoint of {last.log}/{last.segment} with {last.size} records: "
            "the anchor was rolled back, or somebody removed checkpoints from it"
        )
    return ""
