"""The test of a fall may be looked at at any time; alarms are about evidence, and are the same after a restart."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from lifecycle.performance import watching
from lifecycle.performance.delays import DAY_US
from lifecycle.performance.fall_test import BLOCKS, FallState, bet
from lifecycle.performance.labelled_rows import RowsWithLabels
from lifecycle.performance.watching import Fall, FallSettings, WatchedPerformance, alarm_of, begin, look
from loadtests.bench.worlds.late_labels import PLAIN, START_US, StreamReader, own_figures, watch

pytestmark = pytest.mark.heavy

SETTINGS = FallSettings()
SMALL = replace(PLAIN, rows_a_day=1500, attack_share=0.1)


def judged(rng: np.random.Generator, share: float, allowed: float, blocks: int, rows: int = 40) -> FallState:
    state = FallState()
    for block in range(blocks):
        attack = (rng.random(rows) < share).astype(float)
        state = bet(state, attack - allowed, 1 - allowed, block_us=block + 1, gain=attack.sum(), weight=float(rows))
    return state


class TestBets:
    def test_at_the_bound_the_evidence_rarely_exceeds_its_level(self):
        rng = np.random.default_rng(0)
        worst = [max(judged(rng, 0.8, 0.8, b).evidence for b in (5, 20, 60)) for _ in range(60)]
        assert sum(e >= 20 for e in worst) <= 3
        assert np.mean([judged(rng, 0.8, 0.8, 10).evidence for _ in range(100)]) < 1.3, "expected capital is 1 at most"

    def test_below_the_bound_it_grows_and_says_by_how_much(self):
        state = judged(np.random.default_rng(0), 0.6, 0.8, 40)
        assert state.evidence > 1e4
        assert state.figure == pytest.approx(0.6, abs=0.05)

    def test_a_fall_after_a_long_good_time_is_found(self):
        rng = np.random.default_rng(0)
        state = judged(rng, 0.95, 0.8, 200)
        good = state.evidence
        for block in range(60):
            attack = (rng.random(40) < 0.6).astype(float)
            state = bet(state, attack - 0.8, 0.2, block_us=1000 + block, gain=attack.sum(), weight=40.0)
        assert good < 1
        assert state.evidence > 40
        assert state.since_us >= 1000, "the evidence of before does not count"
        assert state.figure == pytest.approx(0.6, abs=0.05)

    def test_a_block_without_labels_costs_its_share_only(self):
        state = bet(FallState(), np.zeros(0), 1.0, block_us=1, gain=0.0, weight=0.0)
        assert state.evidence == pytest.approx(1.0)
        assert state.figure is None

    def test_a_test_that_is_over_is_not_gone_on_with(self):
        with pytest.raises(ValueError, match="start a new test"):
            bet(FallState(blocks=BLOCKS), np.zeros(0), 1.0, block_us=1, gain=0.0, weight=0.0)

    def test_an_excess_that_was_said_to_be_impossible_is_refused(self):
        with pytest.raises(ValueError, match="over the most"):
            bet(FallState(), np.array([0.5]), 0.2, block_us=1, gain=0.0, weight=1.0)

    def test_a_certain_loss_leaves_some_capital(self):
        state = bet(FallState(), np.full(5000, 0.2), 0.2, block_us=1, gain=1.0, weight=1.0)
        assert state.evidence == pytest.approx(1 - 1 / BLOCKS, abs=1e-4)
        assert msgspec.json.decode(msgspec.json.encode(state), type=FallState) == state


@pytest.fixture(scope="module")
def stream() -> RowsWithLabels:
    return SMALL.draw(np.random.default_rng(3), 25, np.inf)


def looked(stream: RowsWithLabels, days: list[float], *, store: bool = False) -> tuple[WatchedPerformance, list[str]]:
    """Look on these days; the bundle is said to have been a quarter better than the stream is."""
    state, found = begin("sha256:0", START_US, SETTINGS), []
    for day in days:
        now_us = int(START_US + day * DAY_US)
        state, falls = look(state, StreamReader(stream, now_us), own_figures(SMALL, precision=1.25), now_us, SETTINGS)
        found += [alarm_of(fall, "flows").alarm_id for fall in falls if fall.subject == "precision"]
        if store:
            state = msgspec.json.decode(msgspec.json.encode(state), type=WatchedPerformance)
    return state, found


class TestLooks:
    def test_a_state_that_was_stored_goes_on_alike(self, stream: RowsWithLabels):
        days = [d / 2 for d in range(1, 50)]
        assert looked(stream, days, store=True) == looked(stream, days)

    def test_a_fall_is_one_alarm_until_the_figure_is_watched_anew(self, stream: RowsWithLabels):
        _, found = looked(stream, [float(d) for d in range(1, 16)])
        assert len(found) == 1
        _, later = looked(stream, [float(d) for d in range(1, 25)])
        assert later[:1] == found
        assert len(set(later)) == 2

    def test_a_second_look_at_the_same_moment_changes_nothing(self, stream: RowsWithLabels):
        state, _ = looked(stream, [10.0])
        now_us = START_US + 10 * DAY_US
        again, falls = look(state, StreamReader(stream, now_us), own_figures(SMALL), now_us, SETTINGS)
        assert (again, falls) == (state, ())

    def test_blocks_that_are_read_together_are_judged_as_if_each_was_read_alone(
        self, stream: RowsWithLabels, monkeypatch: pytest.MonkeyPatch
    ):
        together = self._after_23_days(stream)
        monkeypatch.setattr(watching, "BLOCKS_A_READ", 1)
        alone = self._after_23_days(stream)
        assert together[:2] == alone[:2]
        blocks = (together[0].next_us - START_US) // DAY_US
        assert (alone[2], together[2]) == (1 + blocks, 1 + -(-blocks // 8)), "the labels' delays are one read"

    def _after_23_days(self, stream: RowsWithLabels) -> tuple[WatchedPerformance, tuple[Fall, ...], int]:
        """The state, the falls, and how often the log was read."""
        now_us, reads = START_US + 23 * DAY_US, []
        reader = StreamReader(stream, now_us)

        def read(*args: int, **more: bool) -> RowsWithLabels:
            reads.append(args)
            return reader(*args, **more)

        state = begin("sha256:0", START_US, SETTINGS)
        state, falls = look(state, read, own_figures(SMALL, precision=1.25), now_us, SETTINGS)
        return state, falls, len(reads)

    def test_nothing_is_judged_before_its_labels_are_in(self, stream: RowsWithLabels):
        state, found = looked(stream, [0.5, 1.0, 1.5])
        assert state.next_us == START_US
        assert found == []

    def test_an_alarm_says_what_fell_and_what_to_do(self, stream: RowsWithLabels):
        state, falls = begin("sha256:0", START_US, SETTINGS), ()
        for day in range(1, 25):
            now_us = START_US + day * DAY_US
            state, falls = look(state, StreamReader(stream, now_us), own_figures(SMALL, precision=1.25), now_us, SETTINGS)
            if falls:
                break
        alarm = alarm_of(falls[0], "flows")
        assert (alarm.kind, alarm.subject, alarm.severity) == ("performance", "precision", "major")
        assert alarm.value >= alarm.threshold == 40
        assert "flows: precision is 0.9" in alarm.words
        assert "raise the threshold" in alarm.advice
        assert alarm.began_us <= alarm.time_us

    def test_without_an_audit_recall_is_never_alarmed(self):
        quiet = replace(SMALL, audit_rate=1e-9)
        assert (
            watch(
                quiet, quiet, own_figures(quiet, recall=1.5), subject="recall", changes_day=0, days=20, streams=1, seed=1
            ).alarmed
            == 0
        )


@pytest.mark.parametrize(
    ("factor", "alarmed"),
    [pytest.param(1.0, 0, id="unchanged: no alarm"), pytest.param(1.25, 3, id="a fall by a fifth: each alarms")],
)
def test_streams_are_told_apart(factor: float, alarmed: int):
    own = own_figures(SMALL, precision=factor)
    assert watch(SMALL, SMALL, own, subject="precision", changes_day=0, days=20, streams=3, seed=2).alarmed == alarmed


@pytest.mark.soak
@pytest.mark.parametrize("subject", ["precision", "recall"])
@pytest.mark.parametrize("factor", [pytest.param(1.0, id="unchanged"), pytest.param(1 / 0.95, id="at the bound")])
def test_false_alarms_of_200_streams_in_90_days(subject: str, factor: float):
    own = own_figures(PLAIN, **{subject: factor})
    assert watch(PLAIN, PLAIN, own, subject=subject, changes_day=0, days=90, streams=200, seed=12).alarmed <= 10
