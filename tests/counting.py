"""Counting what work costs, where a clock would judge the machine: how many functions are called in it."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def calls_in(work: Callable[[], object]) -> int:
    """Calls of functions, in Python and in C, that `work` makes on this thread, its own among them. Not those of extensions.

    The first call of something may load and cache: call it before where that is not meant."""
    count = 0

    def count_one(_: FrameType, event: str, __: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count_one)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count - 1  # of setprofile itself
