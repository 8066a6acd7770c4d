"""Compares two lists of leaf hashes: the first record that is not as expected, and what was done to it. Pure."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lifecycle.governance.verify.findings import FindingKind

Elsewhere = Callable[[bytes], str | None]
"""Takes a leaf hash and says, in words, where another segment has it; None if none has."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What was done at `index`, from 0, and to how many records. what: the rest of a sentence that begins with the place."""

    kind: FindingKind
    index: int
    count: int
    what: str


def first_difference(
    expected: Sequence[bytes], found: Sequence[bytes], elsewhere: Elsewhere, *, is_whole: bool
) -> Difference | None:
    """The first place where `found` differs from `expected`; None if there is none. is_whole: nothing may follow what is expected.

    `expected` may end with hashes that are not proved. They only help to tell a removed record from a changed one."""
    at = _first_unequal(expected, found)
    if at == len(expected):
        return _too_many(expected, found, elsewhere) if is_whole and at < len(found) else None
    if at == len(found):
        missing = len(expected) - at
        return Difference(FindingKind.CUT_OFF, at, missing, f"{missing} records are cut off at the end")
    here, wanted = found[at], expected[at]
    later = _index(found, wanted, at + 1)
    if later is None:
        return _gone(expected, found, at, elsewhere)
    count = later - at
    if _is_copy(here, expected, found):
        return Difference(FindingKind.DUPLICATED, at, count, _copy(expected, here))
    origin = _index(expected, here, 0)
    if origin is not None:
        return Difference(
            FindingKind.MOVED, at, 1, f"the record of line {origin + 1} stands here; this one is at line {later + 1}"
        )
    return _foreign(here, at, count, elsewhere, FindingKind.INSERTED, "a record that was never written stands here")


def _gone(expected: Sequence[bytes], found: Sequence[bytes], at: int, elsewhere: Elsewhere) -> Difference:
    """The expected record is nowhere: was it removed, replaced or changed?"""
    here = found[at]
    if _is_copy(here, expected, found):
        return Difference(FindingKind.DUPLICATED, at, 1, f"{_copy(expected, here)}, in place of the record that was here")
    origin = _index(expected, here, at + 1)
    if origin is not None:
        return Difference(FindingKind.REMOVED, at, origin - at, f"{origin - at} records are missing here")
    return _foreign(here, at, 1, elsewhere, FindingKind.CHANGED, "the record is not the one that was written")


def _too_many(expected: Sequence[bytes], found: Sequence[bytes], elsewhere: Elsewhere) -> Difference:
    at, count = len(expected), len(found) - len(expected)
    if found[at] in expected:
        return Difference(FindingKind.DUPLICATED, at, count, _copy(expected, found[at]))
    return _foreign(found[at], at, count, elsewhere, FindingKind.INSERTED, "records follow the end of the segment")


def _foreign(leaf: bytes, at: int, count: int, elsewhere: Elsewhere, kind: FindingKind, what: str) -> Difference:
    origin = elsewhere(leaf)
    if origin is not None:
        return Difference(FindingKind.SPLICED, at, count, f"the record of {origin} stands here")
    return Difference(kind, at, count, what)


def _is_copy(leaf: bytes, expected: Sequence[bytes], found: Sequence[bytes]) -> bool:
    """Whether `found` has more of this leaf than were written."""
    wanted = Counter(expected)[leaf]
    return 0 < wanted < Counter(found)[leaf]


def _copy(expected: Sequence[bytes], leaf: bytes) -> str:
    origin = _index(expected, leaf, 0)
    return f"a copy of the record of line {(origin or 0) + 1} stands here"


def _first_unequal(expected: Sequence[bytes], found: Sequence[bytes]) -> int:
    pairs = zip(expected, found, strict=False)
    return next((i for i, (left, right) in enumerate(pairs) if left != right), min(len(expected), len(found)))


def _index(leaves: Sequence[bytes], leaf: bytes, start: int) -> int | None:
    try:
        return leaves.index(leaf, start)
    except ValueError:
        return None
