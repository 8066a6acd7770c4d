"""Who reads which shard: every worker decides for itself, and soon each has its share."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.stream.kinesis.frames import framed, partition_key, unframed
from serving.stream.kinesis.leases import Lease, LeasePlan, plan_leases


def leases(*holders, **wanted):
    return {n: Lease(n, holder, wanted=wanted.get(f"_{n}", "")) for n, holder in enumerate(holders)}


@pytest.mark.parametrize(
    ("table", "expired", "expected"),
    [
        pytest.param(leases("", "", ""), (), LeasePlan(take=(0, 1, 2)), id="one worker takes everything"),
        pytest.param(leases("a", "a", "a", "a"), (), LeasePlan(ask=(0, 1)), id="a new one asks for its share"),
        pytest.param(leases("a", "a", "", ""), (), LeasePlan(take=(2, 3)), id="and takes what nobody has"),
        pytest.param(leases("a", "a", "me", "me"), (), LeasePlan(), id="with its share it is content"),
        pytest.param(leases("a", "a", "a"), {0, 1, 2}, LeasePlan(take=(0, 1, 2)), id="what a dead worker had is free"),
        pytest.param(leases("me", "me", "me", "me", _1="b"), (), LeasePlan(give=(1,)), id="who is asked gives"),
        pytest.param(leases("me", "me", _0="b", _1="b"), (), LeasePlan(give=(0,)), id="but not below its own share"),
        pytest.param(leases("a", "a", _0="me"), (), LeasePlan(), id="who has asked waits"),
        pytest.param(leases("a"), (), LeasePlan(), id="a worker more than there are shards waits"),
    ],
)
def test_what_a_worker_does(table, expired, expected):
    assert plan_leases(table, "me", expired, table.keys()) == expected


def test_a_shard_is_read_once_its_parents_are_dealt_with():
    table = {0: Lease(0), 1: Lease(1), 2: replace(Lease(2), is_ended=True)}
    assert plan_leases(table, "me", (), {1, 2}).take == (1,)


@given(st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=12), st.integers(1, 4))
def test_workers_that_go_on_deciding_come_to_even_shares(holders, count):
    workers = ["a", "b", "c", "d"][:count]
    table = leases(*holders)
    for _ in range(60):
        for me in workers:
            plan = plan_leases(table, me, {n for n, lease in table.items() if lease.holder not in workers}, table.keys())
            for n in plan.give:
                table[n] = replace(table[n], holder="", wanted="")
            for n in plan.take:
                table[n] = replace(table[n], holder=me, wanted="")
            for n in plan.ask:
                table[n] = replace(table[n], wanted=me)
    shares = [sum(lease.holder == me for lease in table.values()) for me in workers]
    assert sum(shares) == len(table)
    assert max(shares) - min(shares) <= 1 or not table


KEYS = st.none() | st.binary(max_size=300)


@given(st.none() | st.binary(max_size=50), KEYS, st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5)), max_size=3))
def test_a_frame_gives_back_what_was_put_in(value, key, headers):
    sent_key = partition_key(key, "otherwise")
    assert 0 < len(sent_key) <= 256
    assert unframed(framed(value, key, tuple(headers), sent_key), sent_key) == (value, key, tuple(headers))


def test_data_of_others_are_taken_as_they_are():
    assert unframed(b'{"a": 1}', "host").value == b'{"a": 1}'
    assert unframed(b"VDT1\xff\xff\xff\xffno frame", "host").value == b"VDT1\xff\xff\xff\xffno frame"
