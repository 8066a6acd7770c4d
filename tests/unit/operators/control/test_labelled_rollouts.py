"""Labels of analysts decide rollouts: the gates precision and recall, from the store's log of labels and its prediction log."""

import random
from datetime import timedelta

import msgspec
import pytest

from lifecycle.labels.draw import Draw
from lifecycle.labels.label import Label
from lifecycle.labels.label_log import LabelLog
from operators.rollout.status import Phase, Verdict
from tests.fakes.labelled import PredictionLog, record
from tests.fakes.operator.control_place import Place, document, revision

pytestmark = pytest.mark.heavy

POLICY = {
    "steps": [{"setWeight": 50}, {"analysis": {}}, {"setWeight": 100}],
    "analysis": {"gates": [{"name": "precision", "margin": 0.05}], "minRequests": 10, "staleAfter": "10s"},
}


def microseconds(at) -> int:
    return round(at.timestamp() * 1_000_000)


class Desk:
    """Answers of both variants at the place's time, and analysts who know the truth."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.predictions = PredictionLog(place.store_dir / "audit")
        self.labels = LabelLog(place.store_dir / "labels")
        self.rng = random.Random(5)
        self.number = 0
        self.false: dict[str, bool] = {}

    def answered(self, count: int, false_alarms: dict[str, float], verdict: str = "alert") -> list[str]:
        """So many answers, every other one of the candidate; each alert is false with the probability of its variant."""
        records = []
        for _ in range(count):
            self.number += 1
            variant = ("stable", "candidate")[self.number % 2]
            made = record(
                self.number, verdicts=[verdict], model="ids", variant=variant, receipt=f"r-{self.number}",
                revision=revision(1 + self.number % 2).digest,
            )  # fmt: skip
            records.append(msgspec.structs.replace(made, time_us=microseconds(self.place.now) + self.number))
            self.false[made.receipt] = self.rng.random() < false_alarms[variant]
        self.predictions.append(*records)
        return [one.receipt for one in records]

    def draw(self, since, until, audit=(), alert=()) -> None:
        self.labels.record_draw(
            Draw(
                draw_id=f"d{self.number}",
                model="ids",
                since_us=microseconds(since),
                until_us=microseconds(until),
                seed=1,
                rows=9,
                alerts=9,
                audit_inclusion=0.5,
                alert_inclusion=0.5,
                audit=tuple(audit),
                alert=tuple(alert),
            )
        )

    def label(self, events, verdict=None) -> None:
        self.labels.give_all(
            [
                Label(
                    label_id=f"l-{event}", event=event, model="ids", analyst="ada", time_us=microseconds(self.place.now),
                    verdict=verdict or ("benign" if self.false[event] else "attack"),
                )
                for event in events
            ]
        )  # fmt: skip


@pytest.fixture
async def desk(place: Place):
    """A rollout at its analysis step, half of the entities at the candidate."""
    place.folder.change("ids", lambda _: document(revision(1)))
    await place.look()
    place.folder.change("ids", lambda _: document(revision(2), rollout={"policy": POLICY}))
    await place.look(4)
    now = place.folder.status("ids")
    assert (now.phase, now.weight) == (Phase.PROGRESSING, 50)
    return Desk(place)


def status(place: Place):
    return place.folder.status("ids")


async def test_a_candidate_with_more_false_alarms_is_aborted_by_labels(place: Place, desk: Desk, caplog):
    for _ in range(6):
        desk.label(desk.answered(100, {"stable": 0.1, "candidate": 0.5}))
        await place.look()
        if status(place).phase is Phase.ABORTED:
            break
    assert status(place).phase is Phase.ABORTED
    assert set(place.replicas.weights().values()) <= {0.0}
    assert "RolloutAborted: worse: precision: worse" in caplog.text


async def test_a_candidate_that_is_as_precise_passes_by_labels(place: Place, desk: Desk):
    for _ in range(40):
        desk.label(desk.answered(200, {"stable": 0.1, "candidate": 0.02}))
        await place.look()
        if status(place).stable == revision(2):
            break
    assert status(place).stable == revision(2)


async def test_without_labels_the_gate_says_so_and_the_rollout_waits(place: Place, desk: Desk):
    desk.answered(100, {"stable": 0.1, "candidate": 0.9})
    await place.look(3)
    assert status(place).phase is Phase.PROGRESSING
    assert status(place).assessment.verdict is Verdict.UNDECIDED
    assert "no unbiased labels" in status(place).assessment.reason


async def test_biased_labels_never_decide(place: Place, desk: Desk):
    """Somebody labels the candidate's false alarms only, and many of them: none was drawn, so none counts."""
    start = place.now
    events = desk.answered(600, {"stable": 0.1, "candidate": 0.5})
    desk.draw(start - timedelta(seconds=1), place.now + timedelta(seconds=1), alert=events[:2])
    desk.label([event for event in events[2:] if desk.false[event]])
    await place.look(5)
    assert status(place).phase is Phase.PROGRESSING
    assert "no unbiased labels" in status(place).assessment.reason


async def test_labels_of_the_clear_cases_first_do_not_decide_where_all_alerts_count(place: Place, desk: Desk):
    first, *events = desk.answered(600, {"stable": 0.1, "candidate": 0.5})
    desk.label([event for event in events if desk.false[event]])
    await place.look(3)
    assert "no unbiased labels" in status(place).assessment.reason
    desk.label([first])
    await place.look()
    assert status(place).phase is Phase.PROGRESSING


async def test_labels_of_events_before_the_rollout_do_not_count(place: Place):
    place.folder.change("ids", lambda _: document(revision(1)))
    await place.look()
    early = Desk(place)
    early.label(early.answered(400, {"stable": 0.0, "candidate": 0.9}))
    place.now += timedelta(hours=1)
    place.folder.change("ids", lambda _: document(revision(2), rollout={"policy": POLICY}))
    await place.look(6)
    assert "no unbiased labels" in status(place).assessment.reason


async def test_a_loop_that_is_started_anew_counts_no_label_twice(place: Place, desk: Desk):
    desk.label(desk.answered(100, {"stable": 0.2, "candidate": 0.2}))
    await place.look(4)
    (gate,) = status(place).assessment.gates
    assert gate.stable[0] + gate.candidate[0] == 100


async def test_a_log_of_labels_that_cannot_be_read_is_told_and_holds_only_its_gates(place: Place, desk: Desk, caplog):
    desk.label(desk.answered(100, {"stable": 0.1, "candidate": 0.5}))
    (path,) = (place.store_dir / "labels").glob("segment-*.jsonl")
    with path.open("ab") as file:
        file.write(b"{}\n" * 3)
    await place.look(2)
    assert "labels could not be read, so the gates precision and recall wait" in caplog.text
    assert status(place).phase is Phase.PROGRESSING


async def test_missed_attacks_abort_by_recall(place: Place, caplog):
    policy = {**POLICY, "analysis": {**POLICY["analysis"], "gates": [{"name": "recall", "margin": 0.05}]}}
    place.folder.change("ids", lambda _: document(revision(1)))
    await place.look()
    place.folder.change("ids", lambda _: document(revision(2), rollout={"policy": policy}))
    await place.look(4)
    desk, start = Desk(place), place.now
    found = desk.answered(300, {"stable": 0.0, "candidate": 0.0})
    missed = desk.answered(300, {"stable": 0.0, "candidate": 0.0}, verdict="benign")
    caught = [event for event in found if int(event[2:]) % 2 == 0] + [event for event in found if int(event[2:]) % 2][:60]
    attacks = [*caught, *(event for event in missed if int(event[2:]) % 2)]
    desk.label(attacks, "attack")
    await place.look(2)
    assert "no unbiased labels" in status(place).assessment.reason, "alerts are labelled more often"
    desk.draw(start - timedelta(seconds=1), place.now + timedelta(hours=1), audit=attacks)
    await place.look(3)
    assert status(place).phase is Phase.ABORTED
    assert "RolloutAborted: worse: recall: worse" in caplog.text
