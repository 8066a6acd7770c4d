"""Computed views: which functions may be called, and what comes of what they return."""

import numpy as np
import pytest

from serving.features.plan.blocks import default_of
from serving.features.plan.computed import Computed, find_function
from serving.features.plan.definitions import Argument, ComputedView, Feature
from serving.features.plan.errors import InvalidColumn, RegistryError

NUMBER = "feature_repo.transforms:encode_columns"


def view(**changes):
    parts = {
        "name": "v",
        "fields": (Feature("kind", "STRING"), Feature("size", "INT64")),
        "arguments": (),
        "features": (Feature("kind", "DOUBLE"), Feature("size", "DOUBLE")),
        "transform": NUMBER,
        "parameters": {"categories": {"kind": ["a"]}, "numbers": ["size"]},
    }
    return ComputedView(**{**parts, **changes})


def columns(kind=(b"a", b"b"), size=(1, 2)):
    return {"kind": np.array(kind, dtype=object), "size": np.array(size)}


def call(computed, request, stored, rows):
    """The computed features by name."""
    tables = computed(
        request, [values.reshape(-1, 1) for values in stored.values()], {n: (i, 0) for i, n in enumerate(stored)}, rows
    )
    assert [table.shape for table in tables] == [(rows, len(names)) for names in computed.tables]
    return {n: table[:, place] for names, table in zip(computed.tables, tables, strict=True) for place, n in enumerate(names)}


def test_a_batch():
    computed = call(Computed(view(), None), columns(), {}, 2)
    assert {name: column.tolist() for name, column in computed.items()} == {"v__kind": [1.0, 0.0], "v__size": [1.0, 2.0]}


OUTSIDE = [
    "os:system",
    "subprocess:run",
    "x",
    "/etc/x:f",
    "../x:f",
    "feature_repo.nothing:f",
    "feature_repo.transforms:nothing",
]
NO_FUNCTION_OF_ITS_OWN = ["feature_repo.declaration:dataclass", "feature_repo.transforms:FLAGS"]


@pytest.mark.parametrize("reference", OUTSIDE + NO_FUNCTION_OF_ITS_OWN)
def test_who_can_write_the_registry_cannot_choose_what_code_runs(reference):
    with pytest.raises(RegistryError):
        find_function(reference, None)


def test_a_repository_of_ones_own_is_not_left_either(tmp_path):
    (tmp_path / "evil.py").write_text("def f(columns):\n    return {}\n")
    repository = tmp_path / "repository"
    repository.mkdir()
    for reference in ("../evil:f", f"{tmp_path}/evil:f", "..evil:f"):
        with pytest.raises(RegistryError):
            find_function(reference, repository)


def test_a_view_that_names_no_function_is_refused():
    with pytest.raises(RegistryError, match="tag transform"):
        Computed(view(transform=None), None)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        pytest.param({"kind": np.array([b"\xff", b"b"], dtype=object)}, "UTF-8", id="text is UTF-8"),
        pytest.param({"size": np.array([1.5, 2.0])}, "expected INT64", id="a whole number is no float"),
        pytest.param({"size": np.array([1])}, "shape", id="every column has a value a row"),
    ],
)
def test_a_column_that_does_not_fit_is_the_clients_error(changed, problem):
    with pytest.raises(InvalidColumn, match=problem):
        call(Computed(view(), None), {**columns(), **changed}, {}, 2)


def test_a_missing_column_is_named():
    with pytest.raises(InvalidColumn, match="'size' is missing"):
        call(Computed(view(), None), {"kind": columns()["kind"]}, {}, 2)


@pytest.mark.parametrize("kind", ["INT64", "DOUBLE"])
def test_a_repository_of_ones_own_brings_its_functions_and_none_is_the_default(tmp_path, kind):
    (tmp_path / "mine.py").write_text(
        "def double(columns):\n    return {'x': [None if v == 0 else 2 * v for v in columns['n']]}\n"
    )
    own = view(
        fields=(),
        arguments=(Argument("stored", "n"),),
        features=(Feature("x", kind, 7),),
        transform="mine:double",
        parameters={},
    )
    assert call(Computed(own, tmp_path), {}, {"stored__n": np.array([0, 3])}, 2)["v__x"].tolist() == [7, 6]
    assert call(Computed(own, tmp_path), {}, {"stored__n": np.array([0])}, 1)["v__x"].tolist() == [7]


def test_a_transform_that_raises_blames_the_values_it_was_given(tmp_path):
    (tmp_path / "broken.py").write_text("def fail(columns):\n    return 1 / 0\n")
    with pytest.raises(InvalidColumn, match="ZeroDivisionError"):
        call(Computed(view(transform="broken:fail", parameters={}), tmp_path), columns(), {}, 2)


def test_a_singleton_is_called_row_by_row(tmp_path):
    (tmp_path / "single.py").write_text("def f(row):\n    return {'kind': len(row['kind']), 'size': row['size'] + 0.5}\n")
    computed = call(
        Computed(view(transform="single:f", parameters={}, singleton=True), tmp_path), columns(kind=(b"a", b"bcd")), {}, 2
    )
    assert {name: column.tolist() for name, column in computed.items()} == {"v__kind": [1.0, 3.0], "v__size": [1.5, 2.5]}


@pytest.mark.parametrize("code", ["undefined", "1 / 0", "raise SystemExit(1)", "{}['x']", "class"])
def test_a_module_of_ones_own_that_does_not_load_is_a_problem_of_its_service(tmp_path, code):
    """Whatever its code raises, the other services and the replica go on."""
    (tmp_path / "own.py").write_text(code)
    with pytest.raises(RegistryError, match="'own:f' cannot be imported"):
        find_function("own:f", tmp_path)


@pytest.mark.parametrize(
    "feature", [Feature("f", "INT32", 2**40), Feature("f", "DOUBLE", "a lot"), Feature("f", "INT64", 2**70)]
)
def test_a_default_that_its_type_cannot_hold_is_a_problem_of_its_service(feature):
    with pytest.raises(RegistryError, match=r"feature 'f': its default .* is no "):
        default_of(feature)
