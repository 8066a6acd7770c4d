"""What a declaration refuses, and the names it gives."""

import pytest

from feature_repo.declaration import Column, Declaration, DeclarationError, Transform, Window
from feature_repo.flows import FLOWS

HOST = Column("host", "BYTES")
LOGINS = Column("logins", "FP64", 0.0)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param({"keys": ()}, "at least one key", id="features are looked up by a key"),
        pytest.param({"aggregates": ()}, "come together", id="a window needs something to count"),
        pytest.param({"windows": (), "aggregates": ()}, "no features", id="a detector without features needs no Feast"),
        pytest.param({"request_fields": (HOST,)}, "share a name", id="a key is never a request field too"),
        pytest.param({"request_fields": (LOGINS,)}, "share a name", id="a request field never shadows a stored feature"),
        pytest.param({"transform": Transform("m:f", ())}, "no request_fields", id="a transform works on request fields"),
        pytest.param({"windows": (Window(5, 9), Window(5, 60))}, "same length", id="each window has its own view"),
    ],
)
def test_refused(fields, problem):
    sound = {"name": "logins", "keys": (HOST,), "windows": (Window(60, 300),), "aggregates": (LOGINS,)}
    with pytest.raises(DeclarationError, match=problem):
        Declaration(**{**sound, **fields})


def test_a_computed_feature_has_a_type_that_feast_can_infer():
    with pytest.raises(DeclarationError, match="FP32"):
        Transform("m:f", (Column("x", "FP32"),))


def test_an_unknown_datatype_is_refused_with_the_known_ones():
    with pytest.raises(DeclarationError, match="FP32, FP64"):
        Column("x", "float")


def test_names_are_made_of_the_detector_and_its_key():
    declaration = Declaration("logins", (HOST,), (Window(60, 300),), (LOGINS,), version=2)
    assert declaration.service == "logins_v2"
    assert declaration.features() == ("logins_host_60s__logins",)


def test_flows_has_twenty_features_in_three_views_and_a_computed_one():
    names = FLOWS.features()
    assert FLOWS.service == "flows_v1"
    assert [sum(n.startswith(f"{view}__") for n in names) for view in ("host_10s", "host_60s", "host_600s", "flow")] == [
        7,
        7,
        7,
        14,
    ]
