"""bundle.json says only what can be true."""

import pytest
from pydantic import ValidationError

from serving.models.manifest import Manifest

PLAIN = {
    "name": "m",
    "version": "1",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    "files": {},
}
DETECTOR = {
    **PLAIN,
    "request_fields": [{"name": "a", "datatype": "FP32"}, {"name": "b", "datatype": "FP32"}],
    "entity_keys": [{"name": "host", "datatype": "BYTES"}],
    "assembly": [{"tensor": "x", "columns": ["a", "b"]}],
    "score": {"output": "y", "column": 1},
    "operating_points": {"siem_alerting": {"threshold": 0.5, "investigate": 0.2, "requirement": "f1 >= 0.85"}},
    "default_operating_point": "siem_alerting",
}


@pytest.mark.parametrize("body", [pytest.param(PLAIN, id="tensors in, tensors out"), pytest.param(DETECTOR, id="a detector")])
def test_accepts(body):
    assert Manifest.model_validate(body).name == "m"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(
            {"assembly": [{"tensor": "x", "columns": ["a", "host"]}]},
            "must not be a feature",
            id="an entity key is not a feature",
        ),
        pytest.param({"assembly": [{"tensor": "x", "columns": ["a", "c"]}]}, "not request_fields", id="an unknown column"),
        pytest.param({"assembly": [{"tensor": "z", "columns": ["a"]}]}, "must name the inputs", id="an unknown tensor"),
        pytest.param({"score": {"output": "z"}}, "is not an output", id="a score from nowhere"),
        pytest.param({"default_operating_point": "other"}, "is not one of", id="an unknown default operating point"),
        pytest.param({"feature_service": "s", "entity_keys": []}, "needs entity_keys", id="features without a key"),
        pytest.param(
            {
                "feature_service": "s",
                "windows": {
                    "service": "s",
                    "key": "user",
                    "event_time": {"column": "at"},
                    "columns": {},
                    "aggregates": [{"name": "events", "op": "count"}],
                    "views": [{"name": "v", "seconds": 60, "ttl_s": 60}],
                },
            },
            "with its one entity key",
            id="windows of another entity",
        ),
        pytest.param({"version": "v1"}, "version", id="a version that cannot be ordered"),
        pytest.param({"surprise": 1}, "surprise", id="an unknown field"),
    ],
)
def test_refuses(change, says):
    with pytest.raises(ValidationError, match=says):
        Manifest.model_validate({**DETECTOR, **change})
