"""Records of the prediction log give, replayed, what the service answered."""

import asyncio
import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.labs.forecast import forecast
from operators.labs.replay import CannotReplay, replay
from serving.audit.encoding import decode_record, encode_record
from serving.audit.reader import AuditError, read_records
from serving.loading.loaded_bundle import build_revision, load_bundle
from serving.spec import RevisionSpec
from tests import laws
from tests.unit.serving.scoring.variants import World, host, request, spec, threat


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


@pytest.fixture(scope="module")
def records(tmp_path_factory, bundles):
    """As they come back from the disk."""

    async def asked():
        world = World(tmp_path_factory.mktemp("world"))
        world.store.add(bundles["stable"])
        await world.service.apply(spec(bundles["stable"]))
        for i in range(60):
            await world.service.infer(request(host(i), host(i + 1), level=[float(np.sin(i)) * 3, 0.3]))
        return [decode_record(encode_record(r)) for r in world.audit.records]

    return asyncio.run(asked())


@pytest.fixture(scope="module")
def plain(bundles):
    return served(bundles["stable"])


def served(bundle, **revision):
    return build_revision(load_bundle(bundle), RevisionSpec(bundle=bundle.digest, **revision))


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


odd = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=3),
    st.sampled_from([
        10**400, 1e39, [1e39, 2], [[1], [2]], "alert", ["alert"], ["alert", "fine"], {"base64": "?"},
        {"datatype": "FP32", "shape": [2], "data": [1]}, {"datatype": "FP32", "shape": [-1], "raw": "AAA="},
        {"datatype": "X", "shape": [], "data": []},
    ]),
)  # fmt: skip


@given(data=st.data())
@laws.examples(50)
def test_a_record_that_cannot_be_replayed_is_set_aside_and_the_others_are_replayed(data, records, plain):
    """Whatever stands in one record of the log."""
    line = json.loads(encode_record(records[1]))
    inside = {"inputs": line["inputs"], "level": line["inputs"]["level"], "host": line["inputs"]["host"], "record": line}
    holder = inside[data.draw(st.sampled_from(sorted(inside)))]
    key = data.draw(st.sampled_from(sorted(holder)))
    if data.draw(st.booleans()):
        del holder[key]
    else:
        holder[key] = data.draw(odd)
    try:
        changed = decode_record(json.dumps(line).encode())
    except (msgspec.DecodeError, UnicodeEncodeError):
        return  # the reader of the log sets it aside
    found = replay([records[0], changed, records[2]], plain, plain)
    expected = 2 + bool(changed.verdicts and changed.inputs)
    assert found.requests + len(found.skipped) == expected
    assert found.requests >= 2
    assert len(found.logged) == len(found.stable) == len(found.candidate) == len(found.entities)


def test_a_forecast_says_what_was_set_aside(records, bundles):
    one = served(bundles["stable"])
    odd_one = msgspec.structs.replace(records[5], verdicts=["alert"])
    found = replay([*records[:5], odd_one, *records[6:]] * 2, one, one)
    found.span_s = 60.0
    told = forecast(found, np.random.default_rng(0))
    assert (told.requests, told.skipped) == (118, 2)
    assert told.first_skip_reason == f"{odd_one.receipt}: the record has 1 verdicts for 2 rows"


def test_one_record_without_the_features_is_no_reason_to_refuse_all(records, bundles):
    """What rules answered while the features were out has none."""
    deep = msgspec.structs.replace(records[0], features={"depth": [0.1, 0.2]})
    found = replay([deep, records[1]], served(bundles["stable"]), served(bundles["other"]))
    assert (found.requests, [type(problem) for _, problem in found.skipped]) == (1, [CannotReplay])


def test_a_broken_line_of_the_log_is_told_and_the_others_are_read(records, tmp_path):
    good = encode_record(records[0])
    (tmp_path / "segment-0000000000000001-one-000001.jsonl").write_bytes(good + b"{\n" + b"[" * 100_000 + b"\n" + good)
    broken = []
    assert len(list(read_records(tmp_path, broken.append))) == 2
    assert ["line 2" in str(broken[0]), "line 3" in str(broken[1])] == [True, True]
    with pytest.raises(AuditError, match="line 2"):
        list(read_records(tmp_path))
