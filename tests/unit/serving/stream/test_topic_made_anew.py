"""A topic that was deleted and made anew begins at 0 again: nothing of the new one is taken for something of the old one."""

from collections import Counter

import pytest

from tests.unit.serving.scoring.variants import threat
from tests.unit.serving.stream.stream_world import EVENTS, StreamWorld, events


@pytest.mark.parametrize("mode", ["exactly_once", "low_latency"])
@pytest.mark.parametrize("ends", [None, "stop", "kill"], ids=["while it is read", "after a worker stopped", "after one died"])
def test_a_topic_that_was_deleted_and_made_anew_is_read_from_its_beginning_without_the_states_of_the_old(tmp_path, mode, ends):
    world = StreamWorld(tmp_path / "world", mode=mode)
    world.serve(threat(tmp_path / "bundle", "1"))
    world.produce(*events(60))
    worker = world.worker()
    worker.steps(4)
    assert len(world.verdicts()) == 60
    if ends:
        getattr(worker, ends)()
        worker = world.worker()
    world.broker.renew(EVENTS)
    worker.steps(2)
    world.produce(*events(30, first=100))
    worker.steps(3)
    worker.stop()
    found = Counter(v.event_id for v in world.verdicts())
    assert found == Counter(f"e{i}" for i in [*range(60), *range(100, 130)])
    assert worker.counts.events["repeated"] == 0
    assert worker.failures == []
    assert sum(world.counts().values()) == 30, "the states of the old topic are forgotten, in the changelog too"
    world.close()
