import numpy as np
import pytest

from lifecycle.labels.label import Label
from lifecycle.performance.labelled_rows import (
    ATTACK,
    BENIGN,
    BY_AUDIT,
    NO_LABEL,
    UNLABELLED,
    UNSURE,
    RowsWithLabels,
    labelled_rows,
)
from lifecycle.performance.last_words import last_words


def label(event: str, verdict: str, time_us: int, **more: object) -> Label:
    return Label(
        label_id=f"{event}/{time_us}", event=event, model="flows", verdict=verdict, analyst="ada", time_us=time_us, **more
    )


class TestLastWords:
    def test_a_correction_counts_and_the_delay_is_of_the_first_definite_word(self):
        words = last_words([label("a", "unsure", 10), label("a", "attack", 20), label("a", "benign", 30)], "flows")
        assert words["a"].verdict == "benign"
        assert words["a"].first_us == 20

    def test_what_was_said_later_is_not_known_yet(self):
        words = last_words([label("a", "attack", 20), label("a", "benign", 30), label("b", "attack", 40)], "flows", until_us=30)
        assert words["a"].verdict == "attack"
        assert "b" not in words

    def test_an_event_of_the_audit_stays_in_it_whoever_corrects_it(self):
        words = last_words(
            [
                label("a", "benign", 10, selection="audit", inclusion=0.05),
                label("a", "attack", 20, selection="other", family="dos"),
            ],
            "flows",
        )
        assert (words["a"].selection, words["a"].inclusion) == ("audit", 0.05)
        assert (words["a"].verdict, words["a"].family) == ("attack", "dos")

    def test_labels_of_other_models_are_left_out(self):
        assert last_words([label("a", "attack", 10)], "web") == {}

    def test_words_that_come_out_of_order_count_by_their_time(self):
        words = last_words([label("a", "benign", 30), label("a", "attack", 20)], "flows")
        assert words["a"].verdict == "benign"


class _Answers:
    events = np.array(["a", "b", "c", "d"], dtype=object)
    times_us = np.array([100, 200, 300, 400])
    scores = np.array([0.9, 0.1, np.nan, 0.8])
    verdicts = np.array([2, 0, 1, 2], dtype=np.int8)


@pytest.fixture
def rows() -> RowsWithLabels:
    given = [
        label("a", "attack", 150, selection="alert"),
        label("b", "benign", 150, selection="audit", inclusion=0.1),
        label("d", "unsure", 900, selection="alert"),
    ]
    return labelled_rows(_Answers(), last_words(given, "flows"))


class TestJoin:
    def test_rows_get_the_label_of_their_event(self, rows: RowsWithLabels):
        assert rows.label.tolist() == [ATTACK, BENIGN, NO_LABEL, UNSURE]
        assert rows.alert.tolist() == [True, False, False, True]
        assert rows.route[1] == BY_AUDIT
        assert rows.inclusion[1] == 0.1
        assert np.isnan(rows.inclusion[0])

    def test_a_label_before_its_answer_has_no_delay(self, rows: RowsWithLabels):
        assert rows.delay_us[0] == 50
        assert rows.delay_us[1] == 0
        assert np.isnan(rows.delay_us[2])

    def test_an_unsure_label_is_no_definite_one(self, rows: RowsWithLabels):
        assert rows.is_definite.tolist() == [True, True, False, False]

    def test_seen_earlier_a_late_label_was_not_there(self, rows: RowsWithLabels):
        early = rows.seen_within(40.0)
        assert early.label.tolist() == [NO_LABEL, BENIGN, NO_LABEL, NO_LABEL]
        assert early.route.tolist() == [UNLABELLED, BY_AUDIT, UNLABELLED, UNLABELLED]
