"""Valid inputs made up from a model's metadata: shapes with the variable dimensions chosen, elements of every datatype.

Pure and deterministic, so that a failing check can be repeated."""

from collections.abc import Sequence
from math import prod
from typing import Final

from operators.conformance.values import FLOATS, INTEGERS, Element, Tensor, TensorInfo, skip

BATCH_SIZES: Final = (2, 1, 3)
"""Tried in this order for a variable first dimension, until the server accepts one."""

MOST_ELEMENTS: Final = 1 << 22
"""Of one input; a server may describe any shape."""


def concrete_shape(shape: Sequence[int], batch: int) -> tuple[int, ...]:
    """Choose the variable dimensions: the first dimension becomes `batch`, any other 1."""
    return tuple((batch if i == 0 else 1) if dim < 0 else dim for i, dim in enumerate(shape))


def elements(datatype: str, count: int, offset: int = 0) -> tuple[Element, ...]:
    """Make `count` small, distinct-looking elements that every implementation of the datatype can hold exactly."""
    numbers = [(offset + i) % 100 for i in range(count)]
    if datatype == "BOOL":
        return tuple(n % 2 == 0 for n in numbers)
    if datatype in INTEGERS:
        return tuple(numbers)
    if datatype in FLOATS:
        return tuple(n / 4 for n in numbers)
    if datatype == "BYTES":
        return tuple(b"%d" % n for n in numbers)
    return skip(f"no values are known for the datatype {datatype}")


def synthesise(info: TensorInfo, batch: int, offset: int = 0) -> Tensor:
    """Make one valid input. Skips the check if it would have more than MOST_ELEMENTS."""
    shape = concrete_shape(info.shape, batch)
    if prod(shape) > MOST_ELEMENTS:
        skip(f"input {info.name} has {prod(shape)} elements, more than the {MOST_ELEMENTS} that are made up")
    return Tensor(info.name, info.datatype, shape, elements(info.datatype, prod(shape), offset))


def inputs_of(infos: Sequence[TensorInfo], batch: int) -> tuple[Tensor, ...]:
    """Make all inputs of a model, each with elements of its own, so that mixing two up shows."""
    return tuple(synthesise(info, batch, offset=1 + 3 * i) for i, info in enumerate(infos))
