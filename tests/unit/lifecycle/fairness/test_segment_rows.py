"""Segments come from a mapping beside the model: its columns are refused as features and never reach the model."""

import dataclasses

import numpy as np
import pytest

from lifecycle.evaluation.fairness.segment_rows import refuse_as_inputs, segments_of
from serving.models.manifest import Manifest
from serving.segments.mapping import SegmentMapError, parse_segment_map

MAPPING = parse_segment_map("entity,unit,site\n10.1.0.0/16,finance,prague\nalice,hr,\n7,lab,\n", "segments.csv", is_yaml=False)


def test_rows_get_the_segments_of_their_entities() -> None:
    got = segments_of(MAPPING, np.array(["10.1.0.1", "alice", "bob", "10.1.0.1", 7], dtype=object))
    assert {name: values.tolist() for name, values in got.items()} == {
        "unit": ["finance", "hr", "", "finance", "lab"],
        "site": ["prague", "", "", "prague", ""],
    }


def test_an_entity_in_bytes_is_in_the_segment_of_its_text() -> None:
    got = segments_of(
        MAPPING, np.array([b"10.1.0.1", "10.1.0.1", "J\u00fcrgen".encode(), b"\xff", b"alice", "alice\0"], dtype=object)
    )
    assert got["unit"].tolist() == ["finance", "finance", "", "", "hr", ""], "text with a NUL at its end is another's"


def manifest(**changes: object) -> Manifest:
    body = {
        "name": "m", "version": "1", "files": {},
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}], "outputs": [],
        "request_fields": [{"name": "bytes", "datatype": "FP32"}, {"name": "packets", "datatype": "FP32"}],
        "assembly": [{"tensor": "x", "columns": ["bytes", "packets"]}],
    }  # fmt: skip
    return Manifest.model_validate({**body, **changes})


def test_a_model_that_takes_no_column_of_it_is_judged() -> None:
    refuse_as_inputs(MAPPING, manifest())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            {
                "request_fields": [{"name": "bytes", "datatype": "FP32"}, {"name": "unit", "datatype": "BYTES"}],
                "assembly": [{"tensor": "x", "columns": ["bytes", "unit"]}],
            },
            id="as a request field",
        ),
        pytest.param(
            {
                "feature_service": "s",
                "entity_keys": [{"name": "host", "datatype": "BYTES"}],
                "assembly": [{"tensor": "x", "columns": ["bytes", "hosts__unit"]}],
            },
            id="as a stored feature",
        ),
        pytest.param({"inputs": [{"name": "unit", "datatype": "FP32", "shape": [-1, 2]}], "assembly": []}, id="as a tensor"),
    ],
)
def test_a_model_that_takes_one_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SegmentMapError, match="column 'unit' is an input of model 'm' version 1"):
        refuse_as_inputs(MAPPING, manifest(**changes))


def test_a_mapping_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MAPPING.columns = ()  # type: ignore[misc]
