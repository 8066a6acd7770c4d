"""What is there when a replica has started is not walked again by the collector."""

import gc
import sys
import weakref

import pytest

from serving.doors import interpreter


@pytest.fixture(autouse=True)
def _as_before():
    """What was frozen stays so: thousands of tests would be walked again with each collection in those that follow."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


class Ring:
    def __init__(self):
        self.itself = self


@pytest.mark.heavy
def test_what_is_there_is_frozen_and_what_was_garbage_is_gone():
    kept, garbage = Ring(), Ring()
    gone = weakref.ref(garbage)
    del garbage
    interpreter.settle()
    assert gone() is None
    assert not any(found is kept for found in gc.get_objects())
    assert gc.get_freeze_count() > 1000


def test_what_comes_later_is_still_collected():
    interpreter.settle()
    later = weakref.ref(Ring())
    gc.collect()
    assert later() is None


def test_the_loop_gets_the_interpreter_back_within_a_millisecond():
    interpreter.share_fairly()
    assert sys.getswitchinterval() == pytest.approx(0.001)
