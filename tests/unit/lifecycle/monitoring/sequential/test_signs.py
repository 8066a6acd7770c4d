"""ADWIN and Page-Hinkley: they see a change soon, and a detector that is made again is the same one."""

import numpy as np
import pytest

from lifecycle.monitoring.sequential.signs import MOST_VALUES, ChangeSigns


def test_a_change_is_seen_within_some_values():
    rng, signs = np.random.default_rng(0), ChangeSigns()
    quiet = [signs.see(v) for v in rng.normal(0, 1, 300)]
    assert not any(quiet)
    found = next(n for n, v in enumerate(rng.normal(2, 1, 60)) if signs.see(v))
    assert found < 30


@pytest.mark.parametrize("length", [10, 400, MOST_VALUES - 1, MOST_VALUES, 2 * MOST_VALUES + 7])
def test_a_detector_that_is_made_from_its_history_goes_on_as_the_one_before(length):
    rng = np.random.default_rng(3)
    signs = ChangeSigns()
    for value in rng.normal(0, 1, length):
        signs.see(value)
    again = ChangeSigns(signs.history)
    following = [*rng.normal(0, 1, 50), *rng.normal(1.5, 1, 60)]
    assert [signs.see(v) for v in following] == [again.see(v) for v in following]
    assert signs.history == again.history
    assert len(signs.history) <= MOST_VALUES
