"""Whether an answer fits a model's metadata, another answer, or the arithmetic of the example model `simple`.

Pure. Raises Failed with the first difference."""

from math import isclose, isnan
from typing import Final

from operators.conformance.values import Answer, Element, ModelFacts, Tensor, TensorInfo, expect

SIMPLE: Final = (
    (TensorInfo("INPUT0", "INT32", (1, 16)), TensorInfo("INPUT1", "INT32", (1, 16))),
    (TensorInfo("OUTPUT0", "INT32", (1, 16)), TensorInfo("OUTPUT1", "INT32", (1, 16))),
)
"""Inputs and outputs of the model `simple` of Triton's public examples: OUTPUT0 is the sum, OUTPUT1 the difference."""


def is_simple(model: ModelFacts) -> bool:
    """Whether this is the public example model; a variable batch dimension is allowed."""
    names = [[(t.name, t.datatype) for t in side] for side in (model.inputs, model.outputs)]
    return model.name == "simple" and names == [[(t.name, t.datatype) for t in side] for side in SIMPLE]


def check_simple(model: ModelFacts, answer: Answer) -> None:
    """The sum and the difference, element by element."""
    first, second = (t.elements for t in model.valid)
    for name, sign in (("OUTPUT0", 1), ("OUTPUT1", -1)):
        expected = tuple(int(a) + sign * int(b) for a, b in zip(first, second, strict=True))
        got = output(answer, name).elements
        expect(got == expected, f"{name} is {got}, expected {expected}")


def output(answer: Answer, name: str) -> Tensor:
    """An output by name."""
    found = [t for t in answer.outputs if t.name == name]
    expect(len(found) == 1, f"output {name} appears {len(found)} times in the answer")
    return found[0]


def check_declared(model: ModelFacts, answer: Answer) -> None:
    """Names, datatypes and shapes as the metadata says."""
    declared = {t.name: t for t in model.outputs}
    for tensor in answer.outputs:
        expect(tensor.name in declared, f"output {tensor.name} is not in the metadata's outputs {sorted(declared)}")
        info = declared[tensor.name]
        expect(tensor.datatype == info.datatype, f"output {tensor.name} is {tensor.datatype}, metadata says {info.datatype}")
        fits = len(tensor.shape) == len(info.shape) and all(
            declared_dim in (-1, dim) for declared_dim, dim in zip(info.shape, tensor.shape, strict=True)
        )
        expect(fits, f"output {tensor.name} has shape {list(tensor.shape)}, metadata says {list(info.shape)}")


def _is_same(one: Element, other: Element) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        a, b = float(one), float(other)
        return (isnan(a) and isnan(b)) or isclose(a, b, rel_tol=1e-3, abs_tol=1e-5)
    return one == other


def check_same(model: ModelFacts, got: Answer, expected: Answer, *, names: tuple[str, ...] = ()) -> None:
    """The same outputs in the same order; floats within rounding. names: only these outputs.

    Of a model that answers the same request differently, only names, datatypes and shapes are compared."""
    expected_tensors = [t for t in expected.outputs if not names or t.name in names]
    got_names = [t.name for t in got.outputs]
    expect(
        got_names == [t.name for t in expected_tensors],
        f"outputs are {got_names}, expected {[t.name for t in expected_tensors]}",
    )
    for ours, theirs in zip(expected_tensors, got.outputs, strict=True):
        expect(ours.datatype == theirs.datatype, f"output {ours.name}: datatype {theirs.datatype}, was {ours.datatype}")
        expect(ours.shape == theirs.shape, f"output {ours.name}: shape {list(theirs.shape)}, was {list(ours.shape)}")
        if model.is_repeatable:
            pairs = zip(ours.elements, theirs.elements, strict=True)
            wrong = next((i for i, (a, b) in enumerate(pairs) if not _is_same(a, b)), None)
            if wrong is not None:
                a, b = ours.elements[wrong], theirs.elements[wrong]
                expect(False, f"output {ours.name}: element {wrong} is {b!r}, was {a!r} for the same request")
