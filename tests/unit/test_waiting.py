"""Waiting ends when it has come to it; it fails a while after the last progress, however long the work takes in all."""

import itertools
from types import SimpleNamespace

import pytest

from tests import waiting


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock takes a second."""
    seconds = itertools.count()
    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: float(next(seconds)), sleep=lambda _: None))
    monkeypatch.setattr(waiting, "HANG_S", 5.0)


def test_work_that_goes_on_is_waited_for() -> None:
    looks = itertools.count()
    assert waiting.until(lambda: next(looks) >= 100, every_s=0, progress=lambda: next(looks)) is True


def test_work_that_stands_still_is_not() -> None:
    looks = itertools.count()
    with pytest.raises(AssertionError, match="nothing"):
        waiting.until(lambda: next(looks) >= 100, "nothing", every_s=0, progress=lambda: min(next(looks), 40))
    assert 40 < next(looks) < 60
