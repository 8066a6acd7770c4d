"""The changelog: what is read back is the newest whole snapshot and every delta after it, whatever was compacted or torn."""

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.stream.events import StreamEvents
from serving.stream.partitions.changelog import MOST_BYTES, ChangelogWriter, Mark, packed, read_changelog, unpacked
from serving.stream.ports import OutRecord, Partition, StreamError
from serving.stream.state import RuleHit

PARTITION = Partition("events", 2)


class Total:
    """A state that only adds bytes up."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = content

    def update(self, events: StreamEvents) -> Sequence[RuleHit]:
        return ()

    def take_delta(self) -> bytes | None:
        return None

    def snapshot(self) -> Iterable[bytes]:
        return [self.content[:1], self.content[1:]] if self.content else []

    def restore(self, part: bytes) -> None:
        self.content += part

    apply = restore


def mark(number: int) -> Mark:
    return Mark(f"m{number}", number, number + 1, b"", 5, 6)


def log_of(records: Iterable[OutRecord]) -> list[tuple[bytes, bytes | None]]:
    return [(record.key or b"", record.value) for record in records]


def compacted(log: Sequence[tuple[bytes, bytes | None]]) -> list[tuple[bytes, bytes | None]]:
    last = {key: at for at, (key, _) in enumerate(log)}
    return [entry for at, entry in enumerate(log) if last[entry[0]] == at]


def restored(log: Sequence[tuple[bytes, bytes | None]]) -> tuple[bytes, str | None]:
    found = read_changelog(PARTITION, log)
    content = b"".join(part for _, part in found.parts) + b"".join(delta for _, delta in found.deltas)
    return content, found.mark.name if found.mark is not None else None


def test_records_go_to_the_partition_of_the_input() -> None:
    records = ChangelogWriter("state", 2).delta([("t", b"x")], mark(1))
    assert [(r.topic, r.partition, r.key) for r in records] == [("state", 2, b"d0/0")]


def test_an_empty_log_says_nothing() -> None:
    found = read_changelog(PARTITION, [])
    assert (found.mark, list(found.parts), list(found.deltas), found.records) == (None, [], [], 0)


@given(st.lists(st.sampled_from("dddS"), max_size=30), st.data())
def test_any_log_and_any_compaction_of_it_give_the_state_at_the_last_commit(steps: list[str], data: st.DataObject) -> None:
    writer, state, log, name = ChangelogWriter("state", 2), Total(), list[tuple[bytes, bytes | None]](), None
    for number, step in enumerate(steps):
        if step == "S":
            log += log_of(writer.snapshot({"t": state}, mark(number)))
        else:
            change = bytes([97 + number % 26])
            state.content += change
            log += log_of(writer.delta([("t", change)], mark(number)))
        name = f"m{number}"
        if data.draw(st.booleans()):
            log = compacted(log)
        if data.draw(st.booleans()):
            found = read_changelog(PARTITION, log)
            writer = ChangelogWriter("state", 2, found.generation, found.deltas_written)
    assert restored(log) == (state.content, name)


def test_a_snapshot_that_was_not_finished_counts_for_nothing() -> None:
    writer = ChangelogWriter("state", 2)
    log = log_of([*writer.delta([("t", b"ab")], mark(1)), *writer.snapshot({"t": Total(b"ab")}, mark(2))[:-1]])
    found = read_changelog(PARTITION, log)
    assert restored(log) == (b"ab", "m1")
    again = ChangelogWriter("state", 2, found.generation, found.deltas_written)
    assert restored([*log, *log_of(again.delta([("t", b"c")], mark(3)))]) == (b"abc", "m3")


def test_a_delta_that_was_torn_counts_for_nothing() -> None:
    big = b"x" * (MOST_BYTES - 10)
    writer = ChangelogWriter("state", 2)
    whole = log_of(writer.delta([("t", b"a")], mark(1)))
    torn = log_of(writer.delta([("t", big), ("t", big)], mark(2)))
    assert len(torn) == 2
    assert restored([*whole, *torn]) == (b"a" + big + big, "m2")
    assert restored([*whole, *torn[:1]]) == (b"a", "m1")
    found = read_changelog(PARTITION, [*whole, *torn[:1]])
    again = ChangelogWriter("state", 2, found.generation, found.deltas_written)
    assert restored([*whole, *torn[:1], *log_of(again.delta([("t", b"b")], mark(3)))]) == (b"ab", "m3")


@pytest.mark.parametrize("record", [(b"d0/0", b"\xc1"), (b"nonsense", b"x"), (b"s0/x", b"x")])
def test_a_damaged_log_is_an_error_that_says_the_way_out(record: tuple[bytes, bytes]) -> None:
    with pytest.raises(StreamError, match=r"events/2 holds the record .* delete the topic of the state"):
        read_changelog(PARTITION, [record])


@given(st.sets(st.integers(0, 2**40)))
def test_offsets_come_back_as_they_were(offsets: set[int]) -> None:
    expected = np.array(sorted(offsets), np.int64)
    assert unpacked(packed(expected)).tolist() == expected.tolist()


def test_a_state_or_a_change_larger_than_a_record_is_cut_and_read_back_whole() -> None:
    writer, large = ChangelogWriter("state", 2), bytes(range(256)) * 8000
    records = writer.snapshot({"a": Total(large), "b": Total(b"xy")}, mark(1))
    records += writer.delta([("a", large), ("b", b"small"), ("a", large[:10])], mark(2))
    assert max(len(record.value or b"") for record in records) < 1_048_588
    found = read_changelog(PARTITION, log_of(records))
    assert found.parts == [("a", large[:1]), ("a", large[1:]), ("b", b"x"), ("b", b"y")]
    assert found.deltas == [("a", large), ("b", b"small"), ("a", large[:10])]
