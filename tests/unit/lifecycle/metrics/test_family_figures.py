"""Figures of several classes agree with scikit-learn's, classes that nobody answers or that do not occur included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from lifecycle.metrics.families import confusion_matrix
from tests import laws

CLASSES = ("benign", "dos", "probe", "r2l")
PAIRS = st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), min_size=1, max_size=60)


@pytest.mark.heavy
@laws.examples(100)
@given(PAIRS)
def test_they_agree_with_scikit_learn(pairs):
    truth, answer = (np.array(column, dtype=object) for column in zip(*pairs, strict=True))
    matrix = confusion_matrix(truth, answer, CLASSES)
    names = {"labels": list(CLASSES), "zero_division": 0}
    assert matrix.counts.tolist() == reference.confusion_matrix(truth, answer, labels=list(CLASSES)).tolist()
    precision, recall, f1, support = reference.precision_recall_fscore_support(truth, answer, **names)
    figures = matrix.figures()
    assert [f.precision.value or 0 for f in figures] == pytest.approx(precision.tolist())
    assert [f.recall.value or 0 for f in figures] == pytest.approx(recall.tolist())
    assert [f.f1 or 0 for f in figures] == pytest.approx(f1.tolist())
    assert [f.support for f in figures] == support.tolist()
    assert matrix.accuracy().value == pytest.approx(reference.accuracy_score(truth, answer))
    for of in (CLASSES, CLASSES[1:]):
        for average in ("macro", "micro"):
            expected = reference.precision_recall_fscore_support(
                truth, answer, average=average, **{**names, "labels": list(of)}
            )
            got = getattr(matrix, average)(of)
            assert (got.precision, got.recall, got.f1) == pytest.approx(expected[:3])


def test_a_class_without_rows_or_answers_is_undefined_and_counts_as_nothing_in_the_mean():
    truth = np.array(["benign", "dos"], dtype=object)
    matrix = confusion_matrix(truth, truth, ("benign", "dos", "u2r"))
    assert matrix.figures()[2].recall.value is None
    assert matrix.figures()[2].f1 is None
    assert matrix.macro().recall == pytest.approx(2 / 3)


def test_a_name_that_is_no_class_is_refused():
    with pytest.raises(ValueError, match="worm"):
        confusion_matrix(np.array(["worm"], dtype=object), np.array(["dos"], dtype=object), ("dos",))
