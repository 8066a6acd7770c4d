"""What a bundle says of its windows is what its detector declares."""

import pytest

from lifecycle.datasets.declarations import read_detector
from lifecycle.training.features import declaration_of, service_of
from lifecycle.training.stream_windows import window_spec


def test_its_features_are_the_stored_ones_of_the_service_in_their_order():
    detector = read_detector("flows")
    spec = window_spec(detector)
    service = service_of(declaration_of(detector))
    named = [(f"{v.name}__{a.name}", v.name, a.datatype, a.default, v.ttl_s) for v in spec.views for a in spec.aggregates]
    stored = [f for f in service.features if f.ttl_s is not None]
    assert named == [(f.name, f.view, f.datatype, f.default, f.ttl_s) for f in stored]
    assert (spec.service, spec.key) == (service.name, service.join_keys[0].name)
    assert spec.columns == {
        "destination": "string", "dport": "port", "state": "string", "bytes": "int", "src_bytes": "int", "packets": "int"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["nsl-kdd"])
def test_a_detector_without_windows_has_none(name):
    assert window_spec(read_detector(name)) is None
