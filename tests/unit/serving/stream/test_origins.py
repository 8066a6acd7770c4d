"""The ids of an answer's events as one text: each row is found again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.stream.events import StreamEvents
from serving.stream.origins import origins_of, place_of, row_of
from serving.stream.ports import Partition, StreamRecord


def events(topic: str, number: int, offsets: list[int]) -> StreamEvents:
    partition, none = Partition(topic, number), np.zeros(len(offsets), np.bool_)
    records = [StreamRecord(partition, offset, b"") for offset in offsets]
    return StreamEvents(
        partition, records, [{}] * len(offsets), {}, [b""] * len(offsets), np.zeros(len(offsets), np.int64), none, none
    )


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        pytest.param([("e", 0, [5])], "e/0/5", id="one event"),
        pytest.param([("e", 0, [5, 6, 7])], "e/0/5-7", id="a run"),
        pytest.param([("e", 0, [5, 7, 8, 6])], "e/0/5,7-8,6", id="gaps, and held events in the order of their times"),
        pytest.param([("e", 0, [5, 9, 7])], "e/0/5,9,7", id="what only looks like a run"),
        pytest.param([("e", 0, [0]), ("a.b", 11, [3, 4])], "e/0/0 a.b/11/3-4", id="partitions"),
        pytest.param([("e", 0, []), ("e", 1, [3])], "e/1/3", id="a part without events"),
    ],
)
def test_the_text(parts: list[tuple[str, int, list[int]]], text: str) -> None:
    assert origins_of([events(*part) for part in parts]) == text


PARTS = st.dictionaries(
    st.tuples(st.sampled_from(["e", "ee", "e.e-_"]), st.integers(0, 12)),
    st.lists(st.integers(0, 30), min_size=1, unique=True),
    max_size=4,
)


@given(PARTS)
def test_each_row_is_found_and_no_other(parts: dict[tuple[str, int], list[int]]) -> None:
    text = origins_of([events(topic, number, offsets) for (topic, number), offsets in parts.items()])
    names = [f"{topic}/{number}/{offset}" for (topic, number), offsets in parts.items() for offset in offsets]
    assert [row_of(text, name) for name in names] == list(range(len(names)))
    for topic, number in [("e", 0), ("ee", 1), ("e.e-_", 12)]:
        for offset in range(32):
            name = f"{topic}/{number}/{offset}"
            assert row_of(text, name) == (names.index(name) if name in names else None)


@pytest.mark.heavy
@given(
    st.text(max_size=30) | st.from_regex(r"e/0/[0-9,\- ]{0,12}"), st.sampled_from(["e/0/1", "e/0/", "x", "e/0/1#0", "a b/0/1"])
)
def test_no_text_raises(text: str, event: str) -> None:
    assert row_of(text, event) is None or place_of(event) is not None
