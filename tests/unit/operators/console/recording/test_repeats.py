"""What is recorded at once, what is counted, and that strangers cannot fill the disk."""

import pytest

from operators.console.recording.repeats import SEVERAL, WINDOW_S, Allowance, ConsoleAct, Repeats

WRONG = ConsoleAct("console.sign-in", "address:10.0.0.1", "console/sign-in", "not accepted", is_refused=True, is_known=False)
DAY_S = 86_400


def of(address: str) -> ConsoleAct:
    return ConsoleAct("console.sign-in", f"address:{address}", "console/sign-in", "no", is_refused=True, is_known=False)


def test_the_first_is_recorded_at_once_and_its_repeats_as_one_record():
    repeats = Repeats(0.0)
    assert repeats.see(WRONG, 0.0) == WRONG
    assert [repeats.see(WRONG, at) for at in (1.0, 2.0, 3.0)] == [None] * 3
    assert repeats.due(WINDOW_S - 1) == []
    (one,) = repeats.due(WINDOW_S)
    assert (one.actor, one.times) == (WRONG.actor, 3)
    assert not repeats.is_counting


def test_what_did_not_come_again_has_one_record_only():
    repeats = Repeats(0.0)
    repeats.see(WRONG, 0.0)
    assert repeats.due(float("inf")) == []
    assert repeats.see(WRONG, WINDOW_S) == WRONG


@pytest.mark.heavy
def test_strangers_under_ever_new_addresses_write_a_bounded_number_of_records_and_each_is_counted():
    repeats, recorded, asked = Repeats(0.0), [], 0
    for second in range(0, DAY_S, 5):
        for address in range(4):
            asked += 1
            recorded.append(repeats.see(of(f"10.{second}.{address}"), float(second)))
        recorded += repeats.due(float(second))
    recorded += repeats.due(float("inf"))
    written = [one for one in recorded if one is not None]
    assert len(written) < 3 * DAY_S / 60 + 100, "two records a minute and the burst"
    assert sum(one.times or 1 for one in written) == asked
    assert {one.actor for one in written if one.times} == {SEVERAL}


def test_strangers_do_not_use_up_what_people_may_record():
    repeats = Repeats(0.0, strangers=Allowance(2, 60.0))
    for n in range(1000):
        repeats.see(of(str(n)), 0.0)
    out = ConsoleAct("console.sign-out", "ana", "session/1", "signed out")
    assert repeats.see(out, 0.0) == out


@pytest.mark.heavy
def test_memory_is_bounded():
    repeats = Repeats(0.0)
    for n in range(10_000):
        repeats.see(of(str(n)), n * WINDOW_S / 10_000)
    assert len(repeats._until) < 100
