"""The list of services: one line each, remembered until something of the service is written, so that hundreds cost nothing to show.

A page reads what it shows within a time; what it has not read by then is shown as being read and comes with the next look."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from operators.console.site import Site
from operators.control.port import Control, DamagedState, NoSuchService, Record
from operators.control.words import UNDER_WAY, short, unobserved
from operators.rollout.status import Phase

KINDS: Final = {
    "Healthy": "good", "Progressing": "info", "Paused": "wait", "Aborted": "bad", "Experiment": "info", "Waiting": "wait",
    "Unreadable": "bad", "Reading": "none",
}  # fmt: skip
"""The colour of each phase."""
ORDER: Final = ("Unreadable", "Paused", "Aborted", "Progressing", "Experiment", "Waiting", "Reading", "Healthy")
"""What needs people comes first."""
ON_A_PAGE: Final = 50
READS_WITHIN_S: Final = 0.08
LOOKS_AGAIN_S: Final = 1.0
_log = logging.getLogger("vedette.console")


@dataclass(frozen=True, slots=True)
class ServiceLine:
    """One service in the list. model: that it serves; empty while that is not known."""

    name: str
    phase: str
    stable: str = ""
    candidate: str = ""
    step: str = ""
    weight: str = ""
    verdict: str = ""
    more: int | None = None
    waiting_for: str = ""
    model: str = ""

    @property
    def kind(self) -> str:
        """Of its colour."""
        return KINDS.get(self.phase, "none")


@dataclass(frozen=True, slots=True)
class ListPage:
    """What one page of the list shows. counts: services of each phase; total: of all. page counts from 1."""

    lines: Sequence[ServiceLine]
    counts: Mapping[str, int]
    total: int
    found: int
    page: int
    pages: int


class ServiceIndex:
    """The lines of a control plane. now_s: a clock that never goes back. What a page could not wait for is read by a thread."""

    def __init__(self, control: Control, now_s: Callable[[], float] = time.monotonic) -> None:
        self._control, self._now_s = control, now_s
        self._lock = threading.Lock()
        self._lines: dict[str, tuple[object, ServiceLine]] = {}
        self._looked_s = float("-inf")
        self._waiting: dict[str, object] = {}
        self._is_filling = False

    def lines(self, *, within_s: float = READS_WITHIN_S) -> Sequence[ServiceLine]:
        """Every service as it was at the last look. Blocks; raises ControlError if the services cannot be listed."""
        until_s = self._now_s() + within_s
        with self._lock:
            if self._now_s() - self._looked_s >= LOOKS_AGAIN_S:
                self._look()
                self._looked_s = self._now_s()
        while self._now_s() < until_s and self._read_next():
            pass
        with self._lock:
            if self._waiting and not self._is_filling:
                self._is_filling = True
                threading.Thread(target=self._fill, name="console-services", daemon=True).start()
            return [line for _, line in self._lines.values()]

    def _look(self) -> None:
        """Which services there are, and which have changed."""
        stamps = self._control.stamps()
        self._lines = {
            name: self._lines.get(name, (None, ServiceLine(name, "Reading", waiting_for="being read"))) for name in stamps
        }
        self._waiting = {name: stamp for name, stamp in stamps.items() if self._lines[name][0] != stamp}

    def _fill(self) -> None:
        try:
            while self._read_next():
                pass
        except Exception:
            _log.exception("the services cannot be read; the next look tries again")
        finally:
            self._is_filling = False

    def _read_next(self) -> bool:
        """Read one that has changed; False if there is none."""
        with self._lock:
            if not self._waiting:
                return False
            name = next(iter(self._waiting))
            stamp = self._waiting.pop(name)
        line = self._read(name)
        with self._lock:
            if line is None:
                self._lines.pop(name, None)
            elif name in self._lines:
                self._lines[name] = stamp, line
        return True

    def _read(self, name: str) -> ServiceLine | None:
        try:
            return line_of(self._control.read(name))
        except NoSuchService:
            return None
        except DamagedState as problem:
            return ServiceLine(name, "Unreadable", waiting_for=str(problem)[:300])


def index_of(site: Site) -> ServiceIndex:
    """The index of a console; one for all its viewers."""
    found: ServiceIndex = site.kept.setdefault("rollouts.index", ServiceIndex(site.control))
    return found


def line_of(record: Record) -> ServiceLine:
    """A service in one line."""
    status = record.status
    is_busy = status.phase in UNDER_WAY
    steps = len((status.policy or record.rollout).steps)
    return ServiceLine(
        record.ref.name,
        str(status.phase) if record.is_observed else "Waiting",
        short(status.stable),
        short(status.candidate) if status.candidate else "",
        f"{min(status.step_index + 1, steps)}/{steps}" if is_busy else "",
        f"{status.weight:g} %" if is_busy else "",
        str(status.assessment.verdict) if status.assessment.gates else "",
        status.assessment.more if is_busy else None,
        (record.problem or (status.waiting_for if record.is_observed else unobserved(record)))[:300],
        record.ref.model,
    )


def list_page(lines: Iterable[ServiceLine], *, text: str = "", phase: str = "", page: int = 1) -> ListPage:
    """The lines that match, those that need people first. text: part of the name or of what it waits for."""
    lines = list(lines)
    wanted = text.casefold()
    matching = [line for line in lines if wanted in line.name.casefold() or wanted in line.waiting_for.casefold()]
    counts = {one: sum(line.phase == one for line in matching) for one in ORDER}
    shown = [line for line in matching if not phase or line.phase == phase]
    shown.sort(key=lambda line: (ORDER.index(line.phase), line.name))
    pages = max(1, -(-len(shown) // ON_A_PAGE))
    page = min(max(page, 1), pages)
    return ListPage(
        shown[(page - 1) * ON_A_PAGE : page * ON_A_PAGE],
        {one: n for one, n in counts.items() if n or one == phase},
        len(lines),
        len(shown),
        page,
        pages,
    )


def is_phase(text: str) -> bool:
    """Whether the list can be narrowed to this."""
    return text in ORDER or text in set(Phase)
