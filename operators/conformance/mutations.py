"""Requests that are wrong in exactly one way, made from a valid one; the same for both doors.

Pure. Each skips the check where the model has nothing to get wrong (no integer input, no fixed dimension)."""

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Final

from operators.conformance.synthesis import elements
from operators.conformance.values import INTEGERS, STRUCT_CODES, ModelFacts, Request, Tensor, skip

Mutation = Callable[[ModelFacts], Request]
UNKNOWN: Final = "conform-no-such-name"


def _first(model: ModelFacts, fits: Callable[[Tensor], bool], what: str) -> int:
    found = next((i for i, t in enumerate(model.request.inputs) if fits(t)), None)
    return found if found is not None else skip(f"the model has no {what}")


def _changed(model: ModelFacts, at: int, tensor: Tensor) -> Request:
    inputs = list(model.request.inputs)
    inputs[at] = tensor
    return Request(tuple(inputs))


def missing_input(model: ModelFacts) -> Request:
    """Leave the last input out."""
    return Request(model.request.inputs[:-1])


def unexpected_input(model: ModelFacts) -> Request:
    """One input too many, of a name the model does not know."""
    return Request((*model.request.inputs, replace(model.request.inputs[0], name=UNKNOWN)))


def duplicate_input(model: ModelFacts) -> Request:
    """The first input twice."""
    return Request((model.request.inputs[0], *model.request.inputs))


def misnamed_input(model: ModelFacts) -> Request:
    """The first input under a name the model does not know."""
    return _changed(model, 0, replace(model.request.inputs[0], name=UNKNOWN))


def wrong_datatype(model: ModelFacts) -> Request:
    """Strings where the model takes numbers, numbers where it takes strings."""
    tensor = model.request.inputs[0]
    kind = "FP32" if tensor.datatype == "BYTES" else "BYTES"
    words = tuple(b"w%d" % i for i in range(prod(tensor.shape)))
    values = words if kind == "BYTES" else elements(kind, prod(tensor.shape))
    return _changed(model, 0, replace(tensor, datatype=kind, elements=values))


def near_datatype(model: ModelFacts) -> Request:
    """Another numeric datatype than the model's."""
    at = _first(model, lambda t: t.datatype in STRUCT_CODES and t.datatype != "BOOL", "numeric input")
    tensor = model.request.inputs[at]
    kind = "INT64" if tensor.datatype != "INT64" else "INT32"
    return _changed(model, at, replace(tensor, datatype=kind, elements=tuple(int(e) for e in tensor.elements)))


def unknown_datatype(model: ModelFacts) -> Request:
    """A datatype the protocol does not have."""
    return _changed(model, 0, replace(model.request.inputs[0], datatype="INT7"))


def wrong_rank(model: ModelFacts) -> Request:
    """Two dimensions of size 1 more than the model takes."""
    tensor = model.request.inputs[0]
    return _changed(model, 0, replace(tensor, shape=(*tensor.shape, 1, 1)))


def wrong_dimension(model: ModelFacts) -> Request:
    """A fixed dimension one larger, with the data to match."""
    fixed = {t.name: [i for i, dim in enumerate(t.shape) if dim > 0] for t in model.inputs}
    at = _first(model, lambda t: bool(fixed.get(t.name)), "fixed dimension")
    tensor = model.request.inputs[at]
    axis = fixed[tensor.name][-1]
    shape = tuple(dim + (i == axis) for i, dim in enumerate(tensor.shape))
    return _changed(model, at, replace(tensor, shape=shape, elements=elements(tensor.datatype, prod(shape))))


def too_few_elements(model: ModelFacts) -> Request:
    """One element fewer than the shape says."""
    at = _first(model, lambda t: len(t.elements) > 0, "element to leave out")
    tensor = model.request.inputs[at]
    return _changed(model, at, replace(tensor, elements=tensor.elements[:-1]))


def too_many_elements(model: ModelFacts) -> Request:
    """One element more than the shape says."""
    tensor = model.request.inputs[0]
    return _changed(model, 0, replace(tensor, elements=(*tensor.elements, *elements(tensor.datatype, 1))))


def huge_shape(model: ModelFacts) -> Request:
    """A shape of 2^62 elements and more, with the data of a small one."""
    tensor = model.request.inputs[0]
    return _changed(model, 0, replace(tensor, shape=(1 << 31,) * max(2, len(tensor.shape))))


def negative_dimension(model: ModelFacts) -> Request:
    """A shape with -1 in it: variable dimensions are for metadata, a request states its shape."""
    tensor = model.request.inputs[0]
    return _changed(model, 0, replace(tensor, shape=(-1, *tensor.shape[1:])))


def integer_out_of_range(model: ModelFacts) -> Request:
    """An integer one past what the datatype holds."""
    at = _first(model, lambda t: t.datatype in INTEGERS and len(t.elements) > 0, "integer input")
    tensor = model.request.inputs[at]
    bits = int("".join(c for c in tensor.datatype if c.isdigit()))
    past = 1 << (bits if tensor.datatype.startswith("U") else bits - 1)
    return _changed(model, at, replace(tensor, elements=(past, *tensor.elements[1:])))


def unknown_output(model: ModelFacts) -> Request:
    """Ask for an output the model does not have."""
    return replace(model.request, outputs=(UNKNOWN,))
