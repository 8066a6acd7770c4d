"""Compiling in steps, and plans that have done once what a request will do."""

import sys

import numpy as np

from serving.features.plan.definitions import ComputedView, Definitions, Feature, JoinKey, OnlineStore, Service, StoredView
from serving.features.plan.feature_plan import compile_service, compile_steps
from serving.features.warm import columns_of, warm, warm_read
from serving.ports import FieldInfo, TensorPlan

USER = (JoinKey("user", "user", "STRING"),)
TYPES = ("DOUBLE", "FLOAT", "INT64", "STRING")


class RememberingStore:
    decodes = False

    def __init__(self):
        self.asked = []

    def prepare(self, project, groups):
        return None

    async def fetch(self, prepared, keys, timeout_s):
        self.asked.append(keys)
        return [[([None] * 99, [0])] for _ in keys]


def service(views, features, transform=None):
    stored = tuple(
        StoredView(f"v{i}", f"v{i}", USER, tuple(Feature(f"f{j}", TYPES[j % 4]) for j in range(features)), 60.0)
        for i in range(views)
    )
    computed = ()
    if transform:
        fields = (Feature("size", "INT64"), Feature("kind", "STRING"))
        computed = (ComputedView("c", fields, (), (Feature("size", "DOUBLE"),), transform, {"numbers": ["size"]}),)
    return Service("s", stored, computed, tuple(f"{v.name}__{f.name}" for v in (*stored, *computed) for f in v.features))


def definitions(*services):
    return Definitions("p", 3, OnlineStore("none"), services)


def work_of_steps(large):
    """How many instructions of Python each step carries out."""
    done = []

    def count(frame, event, _):
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        done[-1] += event == "opcode"
        return count

    steps, before = compile_steps(large, definitions(large), RememberingStore()), sys.gettrace()
    while True:
        done.append(0)
        sys.settrace(count)
        try:
            next(steps)
        except StopIteration:
            return done
        finally:
            sys.settrace(before)


def test_no_step_of_compiling_a_thousand_features_is_a_large_part_of_it():
    done = work_of_steps(service(50, 20))
    assert sum(done) > 10 * 1000, "each feature takes instructions"
    assert max(done) < 0.25 * sum(done)


def test_in_steps_or_at_once_it_is_the_same_plan():
    small = service(2, 4)
    steps = compile_steps(small, definitions(small), RememberingStore())
    count = 0
    while True:
        count += 1
        try:
            next(steps)
        except StopIteration as done:
            plan = done.value
            break
    at_once = compile_service(small, definitions(small), RememberingStore())
    assert count > 4
    assert (plan.info, plan.layout, plan.times, plan.source) == (at_once.info, at_once.layout, at_once.times, at_once.source)


def test_a_warm_plan_knows_the_bundles_that_use_it():
    small = service(1, 2, "feature_repo.transforms:encode_columns")
    plan = compile_service(small, definitions(small), RememberingStore())
    assembly = (TensorPlan("x", np.dtype(np.float32), ("v0__f0", "c__size", "not_there"), True),)
    warm(plan, [assembly])
    assert plan.assemblers.assemblies == (assembly,)


def test_a_transform_that_refuses_made_up_values_does_not_matter():
    refusing = service(1, 2, "feature_repo.transforms:encode_flows")
    warm(compile_service(refusing, definitions(refusing), RememberingStore()))


async def test_a_plan_is_read_once_for_an_entity_that_nobody_has():
    store, small = RememberingStore(), service(1, 2)
    await warm_read(compile_service(small, definitions(small), store), 0.1)
    assert len(store.asked) == 1


def test_made_up_columns_have_the_fields_types():
    columns = columns_of((FieldInfo("a", "INT64"), FieldInfo("b", "BYTES"), FieldInfo("c", "FP32")), 2)
    assert [(c.dtype.name, c.tolist()) for c in columns.values()] == [
        ("int64", [0, 0]),
        ("object", [b"", b""]),
        ("float32", [0.0, 0.0]),
    ]
