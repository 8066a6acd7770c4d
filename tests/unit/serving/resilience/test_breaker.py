"""The breaker's rules, read by their ids; and its laws, held against a plain model that remembers everything."""

import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serving.resilience.breaker import GONE, Breaker, BreakerLimits, Breakers, BreakerState, Guard, Ticket

LIMITS = BreakerLimits(slow_s=0.1, calls=20, least_calls=5, cooldown_s=1.0, most_cooldown_s=8.0, jitter_ratio=0.0)


def told(outcomes: str, breaker: Breaker | None = None, now_s: float = 0.0) -> Breaker:
    """`.` good, `x` failed, `~` slow."""
    breaker = breaker or Breaker(LIMITS)
    for outcome in outcomes:
        ticket, breaker = breaker.ask(now_s)
        if ticket is None:
            break
        took_s = 1.0 if outcome == "~" else 0.01
        breaker = breaker.failed(ticket, took_s, now_s) if outcome == "x" else breaker.succeeded(ticket, took_s, now_s)
    return breaker


def opened(now_s: float = 0.0) -> Breaker:
    return told("xxxxx", now_s=now_s)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        pytest.param("xxxx", BreakerState.CLOSED, id="too few calls prove nothing"),
        pytest.param("xxxxx", BreakerState.OPEN, id="enough failures open it"),
        pytest.param("....xxxx", BreakerState.OPEN, id="half of the calls failed"),
        pytest.param(".....xxxx", BreakerState.CLOSED, id="less than half failed"),
        pytest.param("~~~~~", BreakerState.OPEN, id="slow successes open it"),
        pytest.param("..~~~~~~~", BreakerState.CLOSED, id="some slow ones do not"),
        pytest.param(
            "." * 1000 + "x" * 10, BreakerState.OPEN, id="a long good past does not keep it closed: the last calls count"
        ),
        pytest.param("x" * 4 + "." * 20 + "xxxx", BreakerState.CLOSED, id="failures fall out of the window"),
        pytest.param("xxxx.", BreakerState.CLOSED, id="what goes well opens nothing"),
    ],
)
def test_when_it_opens(outcomes, expected):
    assert told(outcomes).state is expected


def test_why_it_opened_is_said_in_words():
    assert opened().why == "5 of the last 5 calls failed"
    assert told("~~~~~").why == "5 of the last 5 calls took over 0.1 s"


def test_a_long_pause_forgets_the_last_calls():
    breaker = told("xxxx")
    assert told("x", breaker, now_s=LIMITS.forget_s).state is BreakerState.OPEN
    assert told("x", breaker, now_s=LIMITS.forget_s + 1).state is BreakerState.CLOSED


def test_open_it_lets_nothing_through_until_its_cooldown_is_over():
    breaker = opened()
    assert breaker.ask(0.99) == (None, breaker)
    ticket, probing = breaker.ask(1.0)
    assert ticket is not None
    assert probing.state is BreakerState.HALF_OPEN


def test_half_open_lets_as_many_probes_through_as_it_should_and_no_more():
    _, breaker = opened().ask(1.0)
    for _ in range(LIMITS.probes - 1):
        ticket, breaker = breaker.ask(1.0)
        assert ticket is not None
    assert breaker.ask(1.0) == (None, breaker)


def test_as_many_good_probes_close_it():
    assert told("..", opened(), now_s=1.0).state is BreakerState.HALF_OPEN
    closed = told("...", opened(), now_s=1.0)
    assert (closed.state, closed.known) == (BreakerState.CLOSED, 0)


@pytest.mark.parametrize("bad", ["x", "~"], ids=["a failed probe opens it again", "so does a slow one"])
def test_one_bad_probe_opens_it_again_for_longer(bad):
    again = told("." + bad, opened(), now_s=1.0)
    assert (again.state, again.until_s) == (BreakerState.OPEN, 1.0 + 2.0)
    thrice = told(bad, again, now_s=3.0)
    assert thrice.until_s == 3.0 + 4.0


def test_cooldowns_grow_no_further_than_they_may_and_never_overflow():
    breaker, now_s = opened(), 0.0
    for _ in range(2000):
        now_s = breaker.until_s
        breaker = told("x", breaker, now_s)
    assert breaker.until_s - now_s == LIMITS.most_cooldown_s


def test_jitter_spreads_the_cooldown():
    limits = BreakerLimits(slow_s=0.1, least_calls=1, cooldown_s=1.0, jitter_ratio=0.2)
    ticket, breaker = Breaker(limits).ask(0.0)
    assert [breaker.failed(ticket, 0.0, 0.0, jitter).until_s for jitter in (-1.0, 0.0, 1.0)] == [0.8, 1.0, 1.2]


def test_one_that_stayed_closed_for_long_begins_with_a_short_cooldown_again():
    closed = told("...", told("x", opened(), now_s=1.0), now_s=3.0)
    soon, late = told("xxxxx", closed, now_s=4.0), told("xxxxx", closed, now_s=3.0 + LIMITS.forget_s + 1)
    assert (soon.until_s - 4.0, late.until_s - 34.0) == (4.0, 1.0)


@pytest.mark.parametrize("state", ["open", "half-open"])
def test_late_successes_close_nothing(state):
    late, breaker = Breaker(LIMITS).ask(0.0)
    breaker = told("xxxxx", breaker)
    if state == "half-open":
        _, breaker = breaker.ask(1.0)
    for _ in range(10):
        breaker = breaker.succeeded(late, 0.01, 1.0)
    assert breaker.state is (BreakerState.OPEN if state == "open" else BreakerState.HALF_OPEN)
    assert breaker.good == 0


def test_a_late_failure_opens_nothing_that_has_closed_since():
    late, breaker = Breaker(LIMITS).ask(0.0)
    closed = told("...", told("xxxxx", breaker), now_s=1.0)
    for _ in range(20):
        closed = closed.failed(late, 0.01, 1.0)
    assert (closed.state, closed.known) == (BreakerState.CLOSED, 0)


def test_a_probe_that_says_nothing_gives_its_leave_back():
    ticket, breaker = opened().ask(1.0)
    for _ in range(50):
        breaker = breaker.unused(ticket)
        ticket, breaker = breaker.ask(1.0)
        assert ticket is not None
    assert breaker.state is BreakerState.HALF_OPEN


def test_probes_that_never_come_back_are_given_up():
    breaker, lost = opened(), []
    for _ in range(LIMITS.probes):
        ticket, breaker = breaker.ask(1.0)
        lost.append(ticket)
    assert breaker.ask(1.5)[0] is None
    ticket, breaker = breaker.ask(2.0)
    assert ticket is not None
    assert breaker.succeeded(lost[0], 0.01, 2.0) == breaker, "and count no more when they do"


class Remembering(RuleBasedStateMachine):
    """A guard beside a model that remembers every outcome: the batches it makes of good calls change nothing."""

    def __init__(self):
        super().__init__()
        self.now_s = 100.0
        self.guard = Guard("d", LIMITS, instead="nothing", rng=random.Random(1))
        self.plain = Breaker(LIMITS)
        self.out: deque[tuple[Ticket, Ticket]] = deque()

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.3, 1.0, 5.0, 31.0]))
    def wait(self, seconds):
        self.now_s += seconds

    @rule()
    def ask(self):
        ticket = self.guard.ask(self.now_s)
        plain, self.plain = self.plain.ask(self.now_s)
        assert (ticket is None) == (plain is None)
        if ticket is not None:
            self.out.append((ticket, plain))

    @precondition(lambda self: self.out)
    @rule(kind=st.sampled_from(["good", "good", "good", "failed", "failed", "slow", "unused"]), newest=st.booleans())
    def tell(self, kind, newest):
        ticket, plain = self.out.pop() if newest else self.out.popleft()
        if kind == "unused":
            self.guard.unused(ticket)
            self.plain = self.plain.unused(plain)
            return
        took_s = 0.5 if kind == "slow" else 0.01
        if kind == "failed":
            self.guard.failed(ticket, took_s, self.now_s)
            self.plain = self.plain.failed(plain, took_s, self.now_s)
        else:
            self.guard.succeeded(ticket, took_s, self.now_s)
            self.plain = self.plain.succeeded(plain, took_s, self.now_s)

    @precondition(lambda self: self.guard.is_closed)
    @rule(outcomes=st.text("...x~", min_size=3, max_size=30))
    def many(self, outcomes):
        for outcome in outcomes:
            self.ask()
            if not self.out:
                return
            self.tell({".": "good", "x": "failed", "~": "slow"}[outcome], True)

    @invariant()
    def both_say_the_same(self):
        guard, plain = self.guard.breaker, self.plain
        assert (guard.state, guard.generation, guard.until_s, guard.openings, guard.asked, guard.good) == (
            plain.state,
            plain.generation,
            plain.until_s,
            plain.openings,
            plain.asked,
            plain.good,
        )
        assert self.guard.is_closed == (plain.state is BreakerState.CLOSED)

    @invariant()
    def it_holds_together(self):
        b = self.guard.breaker
        assert 0 <= b.good <= b.asked <= LIMITS.probes
        assert b.known <= LIMITS.calls
        assert max(b.failures.bit_length(), b.slowness.bit_length()) <= b.known


TestRemembering = pytest.mark.heavy(Remembering.TestCase)


@given(st.text(".x~", max_size=80))
def test_it_opens_exactly_when_the_last_calls_say_so(outcomes):
    breaker, window = Breaker(LIMITS), deque(maxlen=LIMITS.calls)
    for outcome in outcomes:
        breaker = told(outcome, breaker)
        window.append(outcome)
        is_proven = len(window) >= LIMITS.least_calls
        is_failing = window.count("x") >= LIMITS.failure_ratio * len(window) and outcome != "."
        is_slow = window.count("~") >= LIMITS.slow_ratio * len(window) and outcome != "."
        if is_proven and (is_failing or is_slow):
            assert breaker.state is BreakerState.OPEN
            return
    assert breaker.state is BreakerState.CLOSED


def test_the_board_says_what_is_out_and_what_happens_instead(caplog):
    board = Breakers(random.Random(1))
    guard = board.new("features", LIMITS, instead="defaults stand in")
    assert (board.degraded(), dict(board.states())) == ((), {"features": BreakerState.CLOSED})
    with caplog.at_level("INFO"):
        for _ in range(5):
            guard.failed(guard.ask(0.0), 0.01, 0.0)
        for _ in range(3):
            guard.succeeded(guard.ask(1.0), 0.01, 1.0)
    assert "breaker of features opened: 5 of the last 5 calls failed; defaults stand in; it is probed in 1.0 s" in caplog.text
    assert "closed after 3 good probes" in caplog.text
    assert dict(board.changes) == {("features", "open"): 1, ("features", "half-open"): 1, ("features", "closed"): 1}


def test_the_board_forgets_models_that_are_gone_and_nothing_else():
    board = Breakers()
    for name in ("features", "model:a/1/stable", "model:b/1/stable"):
        board.new(name, LIMITS, instead="")
    board.keep("model:", ["model:a/1/stable"])
    assert list(board.states()) == ["features", "model:a/1/stable"]


def test_changes_of_dependencies_long_gone_are_forgotten():
    board = Breakers()
    board.new("features", LIMITS, instead="defaults")
    board.changes["features", "open"] += 1
    for number in range(3 * GONE):
        name = f"model:flows/{number}/candidate"
        board.new(name, LIMITS, instead="stable answers instead")
        board.changes[name, "open"] += 1
        board.changes[name, "half-open"] += 1
        board.keep("model:", [name, "model:flows/0/candidate"])
    kept = {"features", *(f"model:flows/{number}/candidate" for number in (0, *range(2 * GONE - 1, 3 * GONE)))}
    assert {name for name, _ in board.changes} == kept, "what is there, and the last that were"
    assert len(board.changes) == 2 * len(kept) - 1
