"""What stays in memory: never more bytes than told, never another value than the last, and a scan pushes out nobody who is used."""

from hypothesis import given
from hypothesis import strategies as st

from serving.features.near.s3_fifo import S3Fifo

MOST = 1000
names = st.integers(0, 30).map(lambda number: b"%d" % number)
puts = st.tuples(st.just("put"), names, st.integers(1, 400))
steps = puts | st.tuples(st.sampled_from(["get", "drop"]), names, st.just(0)) | st.just(("clear", b"", 0))


@given(st.lists(steps, max_size=200))
def test_it_holds_the_last_values_within_its_bytes(taken):
    kept, last, sizes = S3Fifo(MOST), {}, {}
    for turn, (what, name, size) in enumerate(taken):
        if what == "put":
            kept.put(name, turn, size)
            last[name], sizes[name] = turn, size
        elif what == "get":
            assert kept.get(name) in (None, last.get(name))
        elif what == "drop":
            was_here = kept.get(name) is not None
            assert kept.drop(name) == was_here
            last.pop(name, None)
        else:
            kept.clear()
            last.clear()
        here = [name for name in {b"%d" % n for n in range(31)} if kept.get(name) is not None]
        assert len(here) == len(kept)
        assert kept.bytes == sum(sizes[name] for name in here) <= MOST


def test_what_is_larger_than_all_the_room_is_not_kept_and_replaces_what_was():
    kept = S3Fifo(MOST)
    kept.put(b"a", "small", 10)
    kept.put(b"a", "large", MOST + 1)
    assert (kept.get(b"a"), kept.bytes) == (None, 0)


def test_a_scan_of_names_that_are_seen_once_pushes_out_nobody_who_is_used():
    kept = S3Fifo(MOST)
    hot = [b"hot%d" % i for i in range(50)]
    for name in hot:
        kept.put(name, "value", 10)
    for number in range(5000):
        assert kept.get(hot[number % 50]) is not None
        kept.put(b"once%d" % number, "value", 10)
    assert kept.evicted >= 4900


def test_who_comes_back_soon_enters_the_main_queue_at_once():
    kept = S3Fifo(MOST)
    for number in range(100):
        kept.put(b"%d" % number, "value", 10)
        kept.get(b"%d" % number)
    kept.put(b"new", "value", 10)
    for number in range(100, 120):
        kept.put(b"%d" % number, "value", 10)
    assert kept.get(b"new") is None, "it left unused"
    kept.put(b"new", "again", 10)
    for number in range(200, 260):
        kept.put(b"%d" % number, "value", 10)
    assert kept.get(b"new") == "again"
