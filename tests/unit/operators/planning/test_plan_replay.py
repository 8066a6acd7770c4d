"""Records of the prediction log give, replayed, what the service answered."""

import numpy as np
import pytest

from operators.planning.replay import CannotReplay, replay
from serving.audit.encoding import decode_record, encode_record
from serving.served import load_bundle, serve
from serving.spec import RevisionSpec
from tests.unit.serving.variants import World, host, request, spec, threat


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "stable": threat(folder / "1", "1", 1.0),
        "harsh": threat(folder / "2", "2", 8.0),
        "failing": threat(folder / "3", "3", 1.0, fails_above=1.0),
        "other": threat(
            folder / "4",
            "4",
            request_fields=[{"name": "depth", "datatype": "FP32"}],
            assembly=[{"tensor": "level", "columns": ["depth"]}],
        ),
    }


@pytest.fixture
async def records(tmp_path, bundles):
    """As they come back from the disk."""
    world = World(tmp_path)
    world.store.add(bundles["stable"])
    await world.service.apply(spec(bundles["stable"]))
    for i in range(60):
        await world.service.infer(request(host(i), host(i + 1), level=[float(np.sin(i)) * 3, 0.3]))
    return [decode_record(encode_record(r)) for r in world.audit.records]


def served(bundle, **revision):
    return serve(load_bundle(bundle), RevisionSpec(bundle=bundle.digest, **revision))


def test_stable_replayed_gives_every_logged_verdict(records, bundles):
    found = replay(records, served(bundles["stable"]), served(bundles["stable"]))
    assert found.requests == 60
    assert found.stable == found.logged == found.candidate
    assert {0, 2} <= set(found.stable)
    assert not found.examples


def test_another_model_flips_rows_and_examples_name_their_receipts(records, bundles):
    found = replay(records, served(bundles["stable"]), served(bundles["harsh"]))
    assert found.candidate != found.stable
    receipts = {r.receipt for r in records}
    assert found.examples
    assert all(e["receipt"] in receipts and e["stable"] != e["candidate"] for e in found.examples)


def test_a_threshold_is_replayed_as_it_would_be_served(records, bundles):
    found = replay(records, served(bundles["stable"]), served(bundles["stable"], thresholds={"siem_alerting": 0.99}))
    assert 2 not in found.candidate


def test_rows_a_candidate_fails_on_are_told(records, bundles):
    found = replay(records, served(bundles["stable"]), served(bundles["failing"]))
    assert found.candidate.count(-1) > 0
    assert any(e["candidate"] == "fails" for e in found.examples)


def test_a_candidate_that_needs_what_was_not_logged_is_refused(records, bundles):
    with pytest.raises(CannotReplay, match=r"\['depth'\]"):
        replay(records, served(bundles["stable"]), served(bundles["other"]))
