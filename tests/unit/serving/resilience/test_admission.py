"""Early refusal, on a loop that is simulated request by request: who is refused, when, and what it leaves of the goodput."""

import random
from collections import deque

import pytest

from serving.errors import Overloaded
from serving.resilience.admission import Admission

pytestmark = pytest.mark.heavy


class Loop:
    """Turns of a loop over requests that come by themselves (open loop). Costs in seconds; arrivals a second.

    A refusal costs a fourteenth of an answer. What that ratio is bounds the goodput: at three times the load two refusals are
    paid for each answer."""

    def __init__(self, *, serve_s: float, refuse_s: float = 7e-6, max_wait_s: float = 0.015, seed: int = 1):
        self.now_s, self.serve_s, self.refuse_s = 0.0, serve_s, refuse_s
        self.rng = random.Random(seed)
        self.at_end = []
        self.admission = Admission(
            max_wait_s=max_wait_s,
            max_ongoing=1000,
            ongoing=lambda: 0,
            late_s=lambda: 0.0,
            call_soon=self.at_end.append,
            now=lambda: self.now_s,
        )
        self.waiting: deque[float] = deque()
        self.served: list[tuple[float, float]] = []
        """(when, how long it waited for its answer)"""
        self.refused: list[tuple[float, float]] = []
        self.coming_s = 0.0

    def _arrive(self, per_s: float) -> None:
        while self.coming_s <= self.now_s:
            self.waiting.append(self.coming_s)
            self.coming_s += self.rng.expovariate(per_s)

    def run(self, seconds: float, per_s: float) -> None:
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self._arrive(per_s)
            if not self.waiting:
                self.now_s = self.coming_s
                continue
            for _ in range(len(self.waiting)):
                came_s = self.waiting.popleft()
                if self.admission.refuse() is None:
                    self.now_s += self.serve_s
                    self.served.append((self.now_s, self.now_s - came_s))
                else:
                    self.now_s += self.refuse_s
                    self.refused.append((self.now_s, self.now_s - came_s))
            for call in self.at_end:
                call()
            self.at_end.clear()


@pytest.fixture(scope="module")
def at_three_times_the_load():
    """Ten seconds of it."""
    loop = Loop(serve_s=100e-6)
    loop.run(10.0, per_s=30_000)
    return loop


def test_at_three_times_the_load_most_of_the_goodput_stays_and_refusals_are_quick(at_three_times_the_load):
    loop = at_three_times_the_load
    goodput = len(loop.served) / 10.0
    assert goodput > 0.8 * 10_000
    waits = sorted(wait for _, wait in loop.refused if _ > 0.5)
    assert waits[-1] < 0.020
    answered = sorted(wait for at, wait in loop.served if at > 0.5)
    assert answered[-1] < 0.020


def test_under_overload_nothing_swings(at_three_times_the_load):
    by_slice = [0] * 100
    for at, _ in at_three_times_the_load.served:
        by_slice[min(int(at * 10), 99)] += 1
    steady = by_slice[10:]
    assert max(steady) - min(steady) < 0.15 * max(steady)


@pytest.mark.parametrize("per_s", [100, 5_000, 9_000], ids=["idle", "half", "nine tenths"])
def test_below_its_capacity_nobody_is_refused(per_s):
    loop = Loop(serve_s=100e-6)
    loop.run(5.0, per_s=per_s)
    assert not loop.refused


def test_a_burst_is_worked_off_not_refused():
    loop = Loop(serve_s=100e-6)
    loop.waiting.extend([0.0] * 500)
    loop.run(1.0, per_s=100)
    assert not loop.refused


def test_when_the_overload_ends_so_do_the_refusals():
    loop = Loop(serve_s=100e-6)
    loop.run(3.0, per_s=30_000)
    ended_s = loop.now_s
    loop.run(3.0, per_s=5_000)
    assert loop.refused
    assert max(at for at, _ in loop.refused) < ended_s + 0.05


@pytest.mark.parametrize("clients", [1, 8, 32])
def test_few_clients_are_never_refused_however_slow_the_server(clients):
    loop = Loop(serve_s=0.1)
    for _ in range(100):
        loop.waiting.extend([loop.now_s] * clients)
        loop.coming_s = float("inf")
        loop.run(0.01, per_s=1.0)
    assert not loop.refused


def test_a_hundred_clients_of_costly_requests_are_refused_in_part():
    loop = Loop(serve_s=0.002)
    for _ in range(100):
        loop.waiting.extend([loop.now_s] * 100)
        loop.coming_s = float("inf")
        loop.run(0.01, per_s=1.0)
    assert len(loop.refused) > len(loop.served) > 0, "a request counts by the time it takes"


def test_too_many_under_way_refuse_also_the_first_of_a_turn():
    under_way = 3
    admission = Admission(
        max_wait_s=1.0, max_ongoing=3, ongoing=lambda: under_way, late_s=lambda: 0.0, call_soon=lambda _: None
    )
    refusal = admission.refuse()
    assert isinstance(refusal, Overloaded)
    assert refusal.retry_after_s == 1.0
    assert admission.refuse() is refusal, "the doors may keep its bytes"
    under_way = 2
    assert admission.refuse() is None
    assert admission.refused == {"busy": 0, "full": 2}


@pytest.mark.parametrize("refuse_s", [10e-6, 40e-6, 70e-6])
def test_clients_that_come_again_at_once_leave_half_of_the_time_for_answers(refuse_s):
    loop = Loop(serve_s=175e-6, refuse_s=refuse_s)
    loop.coming_s = float("inf")
    while loop.now_s < 5.0:
        loop.waiting.extend([loop.now_s] * (400 - len(loop.waiting)))
        loop.run(1e-9, per_s=1.0)
    assert loop.refused
    assert len(loop.served) * 175e-6 > 0.5 * 5.0


class Waiting:
    """A loop whose requests wait for features first and are finished in a later turn. Costs in seconds. slow: requests that are under
    way and wait for something else than the loop, all the time."""

    def __init__(self, *, begin_s: float, finish_s: float, refuse_s: float):
        self.now_s, self.begin_s, self.finish_s, self.refuse_s = 0.0, begin_s, finish_s, refuse_s
        self.slow, self.late_s, self.idled_s, self.is_seen_late = 0, 0.0, 0.0, True
        self.at_end, self.under_way = [], deque()
        self.admission = Admission(
            max_wait_s=0.015,
            max_ongoing=1000,
            ongoing=lambda: len(self.under_way) + self.slow,
            late_s=lambda: self.late_s,
            call_soon=self.at_end.append,
            now=lambda: self.now_s,
            cpu=lambda: self.now_s - self.idled_s,
        )
        self.most = self.refused = 0
        self.waits: list[float] = []

    def turn(self, arrivals: int) -> None:
        began_s, began = self.now_s, list(self.under_way)
        for _ in range(arrivals):
            if self.admission.refuse() is None:
                self.now_s += self.begin_s
                self.under_way.append(self.now_s)
            else:
                self.now_s += self.refuse_s
                self.refused += 1
        self.most = max(self.most, len(self.under_way))
        for _ in began:
            self.now_s += self.finish_s
            self.waits.append(self.now_s - self.under_way.popleft())
        for call in self.at_end:
            call()
        self.at_end.clear()
        self.late_s = self.is_seen_late * (self.now_s - began_s) / 2  # a timer is due at any moment of the turn
        if arrivals < 100:
            self.now_s += 0.004
            self.idled_s += 0.004


def overloaded(seconds: float) -> Waiting:
    loop = Waiting(begin_s=100e-6, finish_s=200e-6, refuse_s=20e-6)
    while loop.now_s < seconds:
        loop.turn(200)
    return loop


@pytest.mark.parametrize("is_seen_late", [True, False], ids=["timers are late", "timers happen to be in time"])
def test_what_waits_for_features_is_bounded_by_what_the_replica_finishes_in_time(is_seen_late):
    loop = overloaded(5.0)
    loop.is_seen_late = is_seen_late
    loop.most, loop.waits = 0, []
    while loop.now_s < 10.0:
        loop.turn(200)
    assert loop.refused > 0
    assert loop.most <= 40, "what is under way is finished at some 3,000 a second: no more than 32 take half of the 15 ms"
    assert max(loop.waits) < 0.06


@pytest.mark.parametrize("slow", [0, 100, 900], ids=["nobody waits", "a slow store", "a slow model's threads are full"])
def test_the_bound_ends_with_the_overload_also_where_many_wait_for_something_else(slow):
    loop = overloaded(5.0)
    loop.slow = slow
    until_s = loop.now_s + 1.0
    while loop.now_s < until_s:
        loop.turn(5)
    refused = loop.refused
    while loop.now_s < until_s + 5.0:
        loop.turn(5)
    assert loop.refused == refused, "the loop has time: those that wait elsewhere are no reason to refuse these"


def test_with_a_very_long_wait_only_the_bound_on_requests_under_way_is_left():
    """The way out where early refusal itself is in doubt: VEDETTE_MAX_WAIT_S=1000000."""
    loop = Loop(serve_s=1e-3, max_wait_s=1e6)
    loop.run(2.0, per_s=2000)
    assert loop.admission.refused == {"busy": 0, "full": 0}
    assert len(loop.served) > 1900
