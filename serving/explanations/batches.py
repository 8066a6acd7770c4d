"""Graphs that take a fixed number of rows a run, mostly one: more rows are run in so many parts. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from serving.explanations.columns import Tensors


@dataclass(frozen=True, slots=True)
class RowBatch:
    """size: rows of every run; 0: as many as there are. held: inputs whose first axis is something else than rows."""

    size: int = 0
    held: frozenset[str] = frozenset()

    @classmethod
    def of(cls, graph: Any, names: list[str]) -> "RowBatch":
        """What an ONNX graph says of its inputs. names: of the inputs, in the manifest's order.

        Held are scalars, and inputs whose first axis has another name, or another fixed size, than that of the first input."""
        shapes = {v.name: v.type.tensor_type.shape.dim for v in graph.graph.input if v.name in names}
        axes = {name: (dims[0].dim_param, dims[0].dim_value) if len(dims) else None for name, dims in shapes.items()}
        ordered = [axis for name in names if (axis := axes.get(name)) is not None]
        rows = next((axis[0] for axis in ordered if axis[0]), "")
        size = ordered[0][1] if ordered and not rows else 0
        return cls(
            size,
            frozenset(
                name
                for name, axis in axes.items()
                if axis is None or (axis[0] and axis[0] != rows) or (size and axis[1] and axis[1] != size)
            ),
        )

    def parts(self, tensors: Tensors, rows: int) -> Iterator[tuple[Tensors, int]]:
        """Tensors of one run each, and how many of their rows count: the last part is filled up with its last row."""
        if not self.size or rows == self.size:
            yield tensors, rows
            return
        for at in range(0, rows, self.size):
            which = np.minimum(np.arange(at, at + self.size), rows - 1)
            part = {name: tensor if name in self.held else tensor[which] for name, tensor in tensors.items()}
            yield part, min(self.size, rows - at)


FREE: Final = RowBatch()
