"""Quick signs of a change: ADWIN and Page-Hinkley on a stream of numbers. Only this module uses river.

They are quick and keep no false-alarm rate over a long time, so they only inform: an alarm needs evidence (betting, rejection).
What they have seen since they began is kept as plain numbers, bounded, and a detector is made from them again: a process that starts
anew has the same detectors as the one before, and nothing is unpickled.
Sources: Bifet & Gavalda (2007), "Learning from time-changing data with adaptive windowing", SDM; Page (1954), Biometrika 41."""

from collections.abc import Sequence
from typing import Any, Final, Literal

from lifecycle.no_scikit_learn import no_scikit_learn

with no_scikit_learn():
    from river.drift import ADWIN, PageHinkley

Sign = Literal["adwin", "page-hinkley"]
MOST_VALUES: Final = 2000
_ADWIN_DELTA: Final = 1e-4
_SLACK: Final = 0.5
_THRESHOLD: Final = 15.0


class ChangeSigns:
    """Both detectors on one stream of values that have mean 0 and variance 1 while nothing changes. history: see `history`."""

    def __init__(self, history: Sequence[float] = ()) -> None:
        self._history: list[float] = []
        self._adwin, self._page_hinkley = _detectors()
        for value in history:
            self._feed(value)

    @property
    def history(self) -> tuple[float, ...]:
        """What the detectors were fed with since they began; at most MOST_VALUES."""
        return tuple(self._history)

    def see(self, value: float) -> tuple[Sign, ...]:
        """The detectors that see a change with this value; both then begin anew."""
        if len(self._history) >= MOST_VALUES:
            kept = self._history[MOST_VALUES // 2 :]
            self._begin()
            for earlier in kept:
                self._feed(earlier)
        found = self._feed(value)
        if found:
            self._begin()
        return found

    def _begin(self) -> None:
        self._history = []
        self._adwin, self._page_hinkley = _detectors()

    def _feed(self, value: float) -> tuple[Sign, ...]:
        self._history.append(value)
        self._adwin.update(value)
        self._page_hinkley.update(value)
        found: list[Sign] = []
        if self._adwin.drift_detected:
            found.append("adwin")
        if self._page_hinkley.drift_detected:
            found.append("page-hinkley")
        return tuple(found)


def _detectors() -> tuple[Any, Any]:
    adwin: Any = ADWIN  # river says nothing of its types
    return (
        adwin(delta=_ADWIN_DELTA, clock=1, grace_period=30),
        PageHinkley(min_instances=30, delta=_SLACK, threshold=_THRESHOLD, alpha=1.0),
    )
