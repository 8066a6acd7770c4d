"""The short way from what was read to the graph's tensors gives what the way over columns gives, and a plan forgets old bundles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.features.plan.definitions import ComputedView, Definitions, Feature, JoinKey, OnlineStore, Service, StoredView
from serving.features.plan.feature_plan import compile_service
from serving.features.plan.gather import TensorAssemblers
from serving.features.rows import BatchAssembly
from serving.features.single_row import single_row
from serving.models.assembly import assemble
from serving.ports import ReadOutcome, TensorPlan

USER, SITE = (JoinKey("user", "user", "STRING"),), (JoinKey("site", "site", "INT64"),)
NUMBERS = StoredView("numbers", "numbers", USER, tuple(Feature(f"n{i}", "DOUBLE", 0.5) for i in range(4)), None)
MIXED = StoredView(
    "mixed", "mixed", SITE, (Feature("f", "FLOAT"), Feature("i", "INT64", -1), Feature("t", "STRING", "9")), None
)
SIZES = ComputedView(
    "sizes",
    (Feature("size", "INT64"), Feature("kind", "STRING")),
    (),
    (Feature("size", "DOUBLE"), Feature("kind", "DOUBLE")),
    "feature_repo.transforms:encode_columns",
    {"numbers": ["size"], "categories": {"kind": ["a"]}},
)
STORED = [f"{v.name}__{f.name}" for v in (NUMBERS, MIXED) for f in v.features]
SHOWN = [name for name in STORED if name != "numbers__n2"] + ["sizes__size", "sizes__kind"]
FIELDS = {"size": np.array([1, 2, 3]), "kind": np.array([b"a", b"b", b"a"], dtype=object), "extra": np.array([7.5, 8.5, 9.5])}
SERVICE = Service("s", (NUMBERS, MIXED), (SIZES,), tuple(SHOWN))


class NoStore:
    decodes = True

    def prepare(self, project, groups):
        return None


PLAN = compile_service(SERVICE, Definitions("p", 3, OnlineStore("none"), (SERVICE,)), NoStore())
ROWS = [
    [([0.25 + i, 1.5, 2.5, float(i)], (5,)) for i in range(3)],
    [([0.1, None if i == 1 else 2**53 + 1, "3"], (5,)) for i in range(3)],
]
names = st.lists(st.sampled_from([n for n in SHOWN if n != "mixed__t"] + ["extra"]), min_size=1, max_size=8)
dtypes = st.sampled_from([np.float32, np.float64, np.int64])


def read(rows):
    if rows == 1:
        return single_row(PLAN, [group[:1] for group in ROWS], {n: c[:1] for n, c in FIELDS.items()}, 10)
    assembly = BatchAssembly(np.full(3, 10))
    for group, found in zip(PLAN.groups, ROWS, strict=True):
        assembly.add(group, found, None)
    return assembly.finish(PLAN, FIELDS)


@given(st.lists(st.tuples(names, dtypes, st.booleans()), min_size=1, max_size=3), st.sampled_from([1, 3]))
def test_the_short_way_gives_the_same_tensors(parts, rows):
    plan = tuple(
        TensorPlan(f"x{i}", np.dtype(dtype), tuple(columns), is_matrix) for i, (columns, dtype, is_matrix) in enumerate(parts)
    )
    found, fields = read(rows), {name: column[:rows] for name, column in FIELDS.items()}
    expected = assemble(plan, {**fields, **found.columns}, rows)
    tensors = found.direct(plan, fields)
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        assert (tensor.dtype, tensor.shape, tensor.tolist()) == (
            expected[name].dtype,
            expected[name].shape,
            expected[name].tolist(),
        )
        assert tensor.flags.c_contiguous


def test_text_goes_to_a_tensor_of_its_own():
    plan = (TensorPlan("x", np.dtype(object), ("mixed__t",), False), TensorPlan("y", np.dtype(object), ("kind",), False))
    tensors = read(3).direct(plan, FIELDS)
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {"x": ["3", "3", "3"], "y": [b"a", b"b", b"a"]}


def test_what_is_hidden_is_no_column():
    found = read(3)
    assert set(found.columns) == set(SHOWN)
    with pytest.raises(KeyError):
        found.direct((TensorPlan("x", np.dtype(np.float32), ("numbers__n2",), True),), {})


def test_a_column_asked_for_twice_is_two_arrays():
    found = read(3)
    found.columns["numbers__n0"][:] = 99
    assert found.columns["numbers__n0"].tolist() == [0.25, 1.25, 2.25]
    assert found.outcome is ReadOutcome.OK


def test_a_day_of_new_bundles_does_not_grow_a_plan():
    assemblers = TensorAssemblers({"a": (0, 0)}, [1])
    assemblies = [(TensorPlan(f"x{i}", np.dtype(np.float32), ("a",), True),) for i in range(1000)]
    for assembly in assemblies:
        assert assemblers.of(assembly) is assemblers.of(assembly)
    assert len(assemblers.assemblies) <= 64
