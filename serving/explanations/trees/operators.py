"""ONNX operators on one row of symbols. Arrays have the row as their first axis, of size 1; the others are as in the graph.

Only operators that treat every row by itself are here, and only forms of them of which that is sure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.explanations.trees import symbols
from serving.explanations.trees.symbols import Symbol, Term

Symbols = NDArray[Any]
"""Objects: symbols and plain numbers; or an array of plain numbers, a constant of the graph."""
NodeAttributes = Mapping[str, Any]
Operator = Callable[[NodeAttributes, Sequence[Symbols | None]], list[Symbols]]


class NotByRow(Exception):
    """The operator may mix rows, or is asked in a form that is not read."""


def is_symbolic(array: Symbols | None) -> bool:
    """Whether any number of it comes from the inputs."""
    return array is not None and array.dtype == object and any(isinstance(v, Symbol) for v in array.ravel())


def _each(function: Callable[..., Any], takes: int | None = None) -> Operator:
    """An operator that works number by number, with numpy's broadcasting."""

    def run(_: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
        given = [a for a in (inputs if takes is None else inputs[:takes]) if a is not None]
        found = np.frompyfunc(function, len(given), 1)(*(a.astype(object) for a in given))
        return [np.asarray(found, dtype=object)]

    return run


def _cast(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
    is_float = int(attributes.get("to", 1)) in (1, 10, 11)
    return _each(lambda v: v if is_float or not isinstance(v, Term) else symbols.joined(v))(attributes, inputs)


def _within_row(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
    data = _data(inputs)
    found = np.empty(data.shape, dtype=object)
    found.fill(symbols.joined(*data.ravel()))
    return [found]


def _softmax(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
    data = _data(inputs)
    if data.ndim != 2 or int(attributes.get("axis", -1)) not in (1, -1):
        raise NotByRow("Softmax along another axis than the columns is not supported")
    return [row_of(symbols.softmax(list(data[0])))]


def _one_hot(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
    data = _data(inputs)
    size = len(attributes.get("cats_strings") or attributes.get("cats_int64s") or ())
    return [np.repeat(_each(symbols.joined)({}, [data])[0][..., None], size, axis=-1)]


def _concat(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
    if any(a is None for a in inputs):
        raise NotByRow("Concat has an input that is not supported")
    arrays = [a.astype(object) for a in inputs if a is not None]
    axis = int(attributes.get("axis", 1)) % arrays[0].ndim
    if axis == 0 and any(map(is_symbolic, arrays)):
        raise NotByRow("Concat of rows is not supported")
    return [np.concatenate(arrays, axis=axis)]


def _vectorizer(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
    return _concat({"axis": 1}, inputs)


def _extract(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
    return [_data(inputs)[..., _whole(inputs, 1).ravel()]]


def _gather(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
    data = _data(inputs)
    axis = int(attributes.get("axis", 0)) % data.ndim
    if axis == 0 and is_symbolic(data):
        raise NotByRow("Gather of rows is not supported")
    return [np.take(data.astype(object), _whole(inputs, 1), axis=axis)]


def _reshape(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
    data = _data(inputs)
    wanted = [int(d) for d in (attributes["shape"] if "shape" in attributes else _whole(inputs, 1))]
    if is_symbolic(data) and (not wanted or wanted[0] not in (-1, 0)):
        raise NotByRow("Reshape to a fixed number of rows is not supported")
    return [_by_row(data, data.reshape([data.shape[i] if d == 0 else d for i, d in enumerate(wanted)]))]


def _flatten(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
    if int(attributes.get("axis", 1)) != 1:
        raise NotByRow("Flatten into other rows is not supported")
    return [_data(inputs).reshape(1, -1)]


def _squeeze(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
    data = _data(inputs)
    axes = tuple(int(a) % data.ndim for a in (attributes["axes"] if "axes" in attributes else _whole(inputs, 1)))
    if 0 in axes and is_symbolic(data):
        raise NotByRow("Squeeze of the rows is not supported")
    return [np.squeeze(data, axis=axes)]


def _unsqueeze(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
    data = _data(inputs)
    axes = [int(a) for a in (attributes["axes"] if "axes" in attributes else _whole(inputs, 1))]
    found = np.expand_dims(data, tuple(axes))
    if is_symbolic(data) and 0 in [a % found.ndim for a in axes]:
        raise NotByRow("Unsqueeze of the rows is not supported")
    return [found]


def _transpose(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
    data = _data(inputs)
    order = [int(a) for a in attributes.get("perm", range(data.ndim)[::-1])]
    if is_symbolic(data) and order[0] != 0:
        raise NotByRow("Transpose of the rows is not supported")
    return [np.transpose(data, order)]


def _slice(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
    data = _data(inputs)
    if "starts" in attributes:
        starts, ends = attributes["starts"], attributes["ends"]
        axes, steps = attributes.get("axes"), None
    else:
        starts, ends = _whole(inputs, 1), _whole(inputs, 2)
        axes = _whole(inputs, 3) if len(inputs) > 3 and inputs[3] is not None else None
        steps = _whole(inputs, 4) if len(inputs) > 4 and inputs[4] is not None else None
    along = list(range(len(starts))) if axes is None else [int(a) % data.ndim for a in axes]
    if 0 in along and is_symbolic(data):
        raise NotByRow("Slice of rows is not supported")
    cut = [slice(None)] * data.ndim
    for i, axis in enumerate(along):
        cut[axis] = slice(int(starts[i]), int(ends[i]), 1 if steps is None else int(steps[i]))
    return [data[tuple(cut)]]


def _split(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
    data = _data(inputs)
    axis = int(attributes.get("axis", 0)) % data.ndim
    if axis == 0:
        raise NotByRow("Split of rows is not supported")
    sizes = attributes.get("split") or (_whole(inputs, 1) if len(inputs) > 1 and inputs[1] is not None else None)
    if sizes is None:
        raise NotByRow("Split into parts of unknown sizes is not supported")
    return np.split(data, np.cumsum(np.asarray(sizes, dtype=int))[:-1], axis=axis)


def _reduce(combine: Callable[[Sequence[Any]], Any]) -> Operator:
    def run(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
        data = _data(inputs)
        given = attributes.get("axes") or (_whole(inputs, 1) if len(inputs) > 1 and inputs[1] is not None else None)
        axes = [] if given is None else [int(a) % data.ndim for a in given]
        if axes != [1] or data.ndim != 2:
            raise NotByRow("only a sum over the columns is supported")
        total = row_of([combine(list(data[0]))])
        return [total if int(attributes.get("keepdims", 1)) else total[:, 0]]

    return run


def _sum(parts: Sequence[Any]) -> Any:
    total: Any = 0.0
    for part in parts:
        total = symbols.add(total, part)
    return total


def _linear(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
    """MatMul and Gemm with constant weights; between trees and score they keep the sums."""
    data, weights = _data(inputs), inputs[1]
    if weights is None or is_symbolic(weights) or data.ndim != 2 or weights.ndim != 2 or int(attributes.get("transA", 0)):
        raise NotByRow("only a product with a constant matrix is supported")
    matrix = (weights.T if int(attributes.get("transB", 0)) else weights).astype(np.float64) * float(
        attributes.get("alpha", 1.0)
    )
    bias = np.zeros(matrix.shape[1]) if len(inputs) < 3 or inputs[2] is None else inputs[2].astype(np.float64).ravel()
    if not any(isinstance(v, Term) for v in data[0]):
        return [row_of([symbols.joined(*data[0])] * matrix.shape[1])]
    sums = [_sum([symbols.multiply(v, w) for v, w in zip(data[0], column, strict=True)]) for column in matrix.T]
    shifts = np.broadcast_to(bias * float(attributes.get("beta", 1.0)), (matrix.shape[1],))
    return [row_of([symbols.add(total, shift) for total, shift in zip(sums, shifts, strict=True)])]


def _folded(combine: Callable[[Any, Any], Any], *, is_mean: bool = False) -> Operator:
    """An operator that adds up any number of inputs, with numpy's broadcasting."""

    def run(_: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
        total = _data(inputs).astype(object)
        for other in inputs[1:]:
            total = np.frompyfunc(combine, 2, 1)(total, _data([other]).astype(object))
        if is_mean:
            total = np.frompyfunc(lambda v: symbols.divide(v, len(inputs)), 1, 1)(total)
        return [np.asarray(total, dtype=object)]

    return run


def _mean(parts: Sequence[Any]) -> Any:
    return symbols.divide(_sum(parts), len(parts))


def _constant(attributes: NodeAttributes, inputs: Sequence[Symbols | None]) -> list[Symbols]:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints", "value_string", "value_strings"):
        if name in attributes:
            return [np.asarray(attributes[name])]
    raise NotByRow("this form of a constant is not supported")


def _data(inputs: Sequence[Symbols | None]) -> Symbols:
    if not inputs or inputs[0] is None:
        raise NotByRow("an input of it is not supported")
    return inputs[0]


def _whole(inputs: Sequence[Symbols | None], at: int) -> NDArray[np.int64]:
    found = inputs[at] if len(inputs) > at else None
    if found is None or is_symbolic(found):
        raise NotByRow("only a constant shape or index is supported")
    return found.astype(np.int64)


def row_of(values: Sequence[Any]) -> Symbols:
    """One row, shape (1, len(values))."""
    found = np.empty((1, len(values)), dtype=object)
    found[0, :] = values
    return found


def _by_row(before: Symbols, after: Symbols) -> Symbols:
    if is_symbolic(before) and (after.ndim == 0 or after.shape[0] != 1):
        raise NotByRow("Reshape into other rows is not supported")
    return after


OPERATORS: Final[Mapping[str, Operator]] = {
    "Identity": lambda _, inputs: [_data(inputs)],
    "Cast": _cast,
    "Constant": _constant,
    "Add": _each(symbols.add), "Sub": _each(symbols.subtract), "Mul": _each(symbols.multiply), "Div": _each(symbols.divide),
    "Neg": _each(symbols.negative), "Exp": _each(symbols.exponential), "Sigmoid": _each(symbols.logistic),
    "Reciprocal": _each(symbols.reciprocal), "Sum": _folded(symbols.add), "Mean": _folded(symbols.add, is_mean=True),
    "Softmax": _softmax, "Normalizer": _within_row, "OneHotEncoder": _one_hot,
    "Concat": _concat, "FeatureVectorizer": _vectorizer, "ArrayFeatureExtractor": _extract, "Gather": _gather,
    "Reshape": _reshape, "Flatten": _flatten, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Transpose": _transpose,
    "Slice": _slice, "Split": _split, "ReduceSum": _reduce(_sum), "ReduceMean": _reduce(_mean),
    "MatMul": _linear, "Gemm": _linear,
    **{name: _each(symbols.joined, 1) for name in (
        "LabelEncoder", "CategoryMapper", "Scaler", "Imputer", "Binarizer", "Abs", "Log", "Sqrt", "Floor", "Ceil", "Round", "Sign", "Not",
        "IsNaN", "IsInf", "Tanh", "Relu", "Clip", "Erf", "Softplus", "LeakyRelu", "Elu", "Sin", "Cos")},
    **{name: _each(symbols.joined) for name in (
        "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "And", "Or", "Xor", "Where", "Pow", "Mod", "Max", "Min")},
}  # fmt: skip
"""By name, of the domains ai.onnx and ai.onnx.ml. All others leave nothing known of their outputs."""
