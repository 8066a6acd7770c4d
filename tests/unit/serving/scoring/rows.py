"""Rows as the Scorer has them, made by hand."""

import numpy as np

from serving.scoring.inputs import ColumnRows, TensorRows


def array(values):
    if isinstance(values, np.ndarray):
        return values
    if isinstance(values[0], (str, bytes)):
        made = np.empty(len(values), object)
        made[:] = [v.encode() if isinstance(v, str) else v for v in values]
        return made
    return np.array(values)


def columns(fields=None, **keys) -> ColumnRows:
    made = {name: array(values) for name, values in keys.items()}
    others = {name: array(values) for name, values in (fields or {}).items()}
    count = len(next(iter({**made, **others}.values())))
    return ColumnRows(made, others, np.zeros(count, np.int64), count)


def tensors(**given) -> TensorRows:
    made = {name: array(values) for name, values in given.items()}
    return TensorRows(made, len(next(iter(made.values()))))
