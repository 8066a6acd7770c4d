"""Which windows a worker counts: those of the bundle that is served, and none where it does not say how."""

import logging

import pytest
from test_stream_windows import SPEC

from serving.models.manifest import Manifest
from serving.stream.ports import Partition
from serving.stream.windows.served import ServedWindows

PARTITION = Partition("events", 0)
BUNDLE = {
    "name": "m",
    "version": "1",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    "entity_keys": [{"name": "host", "datatype": "BYTES"}],
    "assembly": [{"tensor": "x", "columns": ["host_3s__events"]}],
    "feature_service": "hosts_v1",
    "files": {},
}


def bundle(**changes):
    return Manifest.model_validate({**BUNDLE, "windows": SPEC.model_dump(), **changes})


def served(**options):
    return ServedWindows(**{"is_on": True, "bound": 100, "lateness_s": 2.5, "push_s": 0.0, **options})


def test_the_same_windows_are_the_same_states_whatever_the_version():
    windows = served()
    (kind,) = windows(bundle())
    assert windows(bundle(version="2"))[0] is kind
    assert set(kind.columns) == set(SPEC.columns)
    assert kind.lateness_s == 3
    state = kind.open(PARTITION)
    assert kind.metrics() == {"entities": 0.0, "sketched": 0.0}
    assert kind.digest(PARTITION) == state.digest()
    kind.forget(PARTITION)
    windows.close()


@pytest.mark.parametrize("change", [{"views": SPEC.model_dump()["views"][:1]}, {"columns": {**SPEC.columns, "more": "int"}}])
def test_other_windows_have_other_names_so_their_states_are_not_mixed(change):
    (first,) = served()(bundle())
    (other,) = served()(bundle(windows={**SPEC.model_dump(), **change}))
    assert first.name != other.name
    assert served()(bundle())[0].name == first.name


def test_another_bound_is_another_state():
    assert served()(bundle())[0].name != served(bound=101)(bundle())[0].name


def test_a_bundle_that_does_not_say_how_is_scored_from_the_store_and_the_log_says_what_to_do_once(caplog):
    windows = served()
    with caplog.at_level(logging.ERROR):
        assert windows(bundle(windows=None)) == ()
        assert windows(bundle(windows=None)) == ()
    (record,) = caplog.records
    assert "train it again" in record.message


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        pytest.param({"is_on": False}, {}, id="switched off"),
        pytest.param({}, {"windows": None, "feature_service": None, "assembly": [], "entity_keys": []}, id="no features"),
    ],
)
def test_no_windows(options, changes):
    assert served(**options)(bundle(**changes)) == ()
