"""The columns of an explanation, and the numbers of the graph's inputs that each column fills. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.explanations.trees.symbols import Mixed
from serving.explanations.trees.tree_ensemble import Indices
from serving.models.manifest import Manifest

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class InputColumns:
    """names: of the columns. column_of: tensor -> the column of each number of a row, in the shape of a row. held: inputs without rows."""

    names: tuple[str, ...]
    column_of: Mapping[str, Indices]
    held: frozenset[str]

    @classmethod
    def of(cls, manifest: Manifest, rows: Tensors, held: Collection[str] = ()) -> "InputColumns":
        """rows: tensors of any number of rows, for their shapes. held: inputs whose first axis is something else than rows."""
        numbers: dict[str, int] = {}
        column_of: dict[str, Indices] = {}
        assembled = {entry.tensor: entry.columns for entry in manifest.assembly}
        for spec in manifest.inputs:
            if spec.name in held or not spec.shape:
                continue
            tail = rows[spec.name].shape[1:]
            names = assembled.get(spec.name) or _names(spec.name, tail)
            found = [numbers.setdefault(name, len(numbers)) for name in names]
            column_of[spec.name] = np.array(found, dtype=np.intp).reshape(tail)
        return cls(tuple(numbers), column_of, frozenset(s.name for s in manifest.inputs if s.name not in column_of))

    def fits(self, tensors: Tensors) -> bool:
        """Whether rows have the shapes that these columns were made for."""
        return all(name in tensors and tensors[name].shape[1:] == at.shape for name, at in self.column_of.items())

    def symbols(self) -> dict[str, NDArray[Any]]:
        """One row of symbols for each tensor of rows; see score_path."""
        found = {}
        for name, at in self.column_of.items():
            row = np.empty((1, *at.shape), dtype=object)
            row.ravel()[:] = [Mixed(frozenset({int(c)})) for c in at.ravel()]
            found[name] = row
        return found

    def row(self, tensors: Tensors, index: int) -> dict[str, NDArray[Any]]:
        """One row of tensors, with what is held."""
        return {name: tensors[name][index : index + 1] if name in self.column_of else tensors[name] for name in tensors}

    def mixed(self, row: Tensors, others: Tensors, known: NDArray[np.bool_], which: Indices) -> dict[str, NDArray[Any]]:
        """Rows that have some columns of one row and the other columns of others.

        row: tensors of one row. known: shape (n, columns), which columns are the row's. which: shape (n,), the other row that fills
        the rest. Gives tensors of n rows."""
        found = {name: tensor for name, tensor in row.items() if name not in self.column_of}
        for name, at in self.column_of.items():
            found[name] = np.where(known[:, at], row[name], others[name][which])
        return found

    def value(self, row: Tensors, column: int) -> Any:
        """What a row has in a column, as it stands in the tensor."""
        name, place = self.place(column)
        return row[name][0][place]

    def place(self, column: int) -> tuple[str, tuple[Any, ...]]:
        """The first tensor that a column fills, and where in a row of it."""
        for name, at in self.column_of.items():
            found = np.argwhere(at == column)
            if len(found):
                return name, tuple(found[0])
        raise KeyError(column)

    def replaced(self, row: Tensors, changes: Mapping[int, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Copies of one row with other values in some columns. changes: column -> its value in each copy, shape (n,)."""
        copies = len(next(iter(changes.values())))
        found = {}
        for name, tensor in row.items():
            if name not in self.column_of:
                found[name] = tensor
                continue
            found[name] = np.repeat(tensor, copies, axis=0)
            for column, values in changes.items():
                for place in np.argwhere(self.column_of[name] == column):
                    found[name][(slice(None), *place)] = values.astype(tensor.dtype)
        return found


def _names(tensor: str, tail: tuple[int, ...]) -> list[str]:
    if int(np.prod(tail)) == 1:
        return [tensor]
    return [f"{tensor}[{','.join(str(i) for i in place)}]" for place in np.ndindex(*tail)]
