"""Exact Shapley values of sums of decision trees.

The value function is the path-dependent one: where a column is left out, a node sends a row both ways, in the ratio of its cover.
For a leaf of weight v below the columns 1..d this is v * prod_j (o_j if j is known else z_j), where o_j says whether the row satisfies
all conditions of column j on the way to the leaf, and z_j is the product of the cover ratios of these conditions. Its Shapley values are

    phi_i = v (o_i - z_i) * integral from 0 to 1 of prod_{j != i} (t o_j + (1 - t) z_j) dt,

a polynomial of degree d - 1, which Gauss-Legendre quadrature with ceil(d / 2) points integrates exactly. The o_j of a leaf are a mask of
d bits. Leaves below few columns keep phi for every mask in a table; the others are integrated when they are asked for.

Sources: Lundberg et al. (2020), "From local explanations to global understanding with explainable AI for trees", Nature Machine
Intelligence 2, algorithm 1 (the value function); Yang (2021), "Fast TreeSHAP", arXiv:2109.09847 (tables by mask)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.explanations.trees.tree_ensemble import Floats, Indices, TreeEnsemble

MOST_COLUMNS: Final = 62
"""Of one path: masks are whole numbers of 64 bits."""
TABLE_BITS: Final = 14
"""Most columns of a path whose leaf gets a table."""
TABLE_BYTES: Final = 64 * 1024 * 1024
"""Most memory for tables; leaves below the fewest columns come first."""
_ROWS: Final = 128
"""Rows that are explained at a time."""
_NUMBERS: Final = 1 << 18
"""Numbers of one intermediate array, about: 2 MB stay in a processor's cache."""
Masks = NDArray[Any]


class DeepPath(Exception):
    """A path has conditions on more columns than MOST_COLUMNS."""


@dataclass(frozen=True, slots=True)
class _Level:
    """Nodes of one depth. inner, leaves: which of them; bits: of each inner node's column in the mask, shape (len(inner), 1)."""

    inner: Indices
    leaves: Indices
    bits: Masks


@dataclass(frozen=True, slots=True)
class _Leaves:
    """Leaves below d columns each. which: their numbers; columns, ratios: shape (leaves, d); values: shape (leaves,)."""

    which: Indices
    columns: Indices
    ratios: Floats
    values: Floats

    def every(self) -> Floats:
        """phi for all 2 ** d masks, shape (leaves, 2 ** d, d): the products of all masks are made by doubling."""
        d = self.columns.shape[1]
        factors, shares = self.factors()
        product = np.ones((len(self.which), 1, factors.shape[3]))
        for column in range(d):
            product = np.concatenate([product * factors[:, column, None, 0], product * factors[:, column, None, 1]], axis=1)
        known = ((np.arange(1 << d)[:, None] >> np.arange(d)) & 1) == 0
        holds, violated = (product @ shares[:, :, side].transpose(0, 2, 1) for side in (0, 1))
        return np.where(known, holds, violated)

    def factors(self) -> tuple[Floats, Floats]:
        """By column, by whether it holds (0) or is violated (1), and by quadrature point: the factor of the product, and what the whole
        product is multiplied with to give phi. Both of shape (leaves, d, 2, points)."""
        points, weights = _quadrature(self.columns.shape[1])
        z, known = self.ratios[:, :, None, None], np.array([1.0, 0.0])[:, None]
        factors = known * points + (1 - points) * z
        differences = self.values[:, None, None, None] * (known - z) * weights
        # A factor of 0 (violated, z = 0) makes the products 0, and its own difference as well.
        return factors, np.divide(differences, factors, out=np.zeros_like(factors), where=factors != 0)


@dataclass(frozen=True, slots=True)
class _Integrated:
    """Leaves below d columns each that have no table. which: their numbers; columns: shape (leaves, d); factors, shares: see
    `_Leaves.factors`, by column and then by leaf and side, shape (d, 2 * leaves, points)."""

    which: Indices
    columns: Indices
    factors: Floats
    shares: Floats

    @classmethod
    def of(cls, group: _Leaves) -> "_Integrated":
        """Worked out once."""
        leaves, d = group.columns.shape
        factors, shares = (array.transpose(1, 0, 2, 3).reshape(d, 2 * leaves, -1) for array in group.factors())
        return cls(group.which, group.columns, factors, shares)

    def add(self, violated: Masks, into: Floats) -> None:
        """Add phi of rows. violated: masks of all leaves, shape (leaves, n), into: shape (columns, n)."""
        leaves, points = len(self.columns), self.factors.shape[2]
        step = max(_NUMBERS // (violated.shape[1] * points), 1)
        for begin in range(0, leaves, step):
            part = slice(begin, begin + step)
            found = self._shapley(violated[self.which[part]], begin)
            column = self.columns[part].T.ravel()
            if found.shape[2] == 1:
                into[:, 0] += np.bincount(column, weights=found.ravel(), minlength=len(into))
                continue
            order = np.argsort(column, kind="stable")
            columns, starts = np.unique(column[order], return_index=True)
            into[columns] += np.add.reduceat(found.reshape(len(column), -1)[order], starts, axis=0)

    def _shapley(self, violated: Masks, begin: int) -> Floats:
        """phi of leaves from number `begin` on, shape (d, leaves, n)."""
        leaves, rows = violated.shape
        first = 2 * np.arange(begin, begin + leaves)[:, None]
        one = violated.dtype.type(1)
        sides = [first + (violated >> violated.dtype.type(j) & one).astype(np.intp) for j in range(self.columns.shape[1])]
        product = self.factors[0].take(sides[0], axis=0)
        for j in range(1, len(sides)):
            product *= self.factors[j].take(sides[j], axis=0)
        found = np.empty((len(sides), leaves, rows))
        for j, side in enumerate(sides):
            np.einsum("lnk,lnk->ln", product, self.shares[j].take(side, axis=0), out=found[j])
        return found


@dataclass(frozen=True, slots=True)
class _Table:
    """phi by mask of many leaves, one after another; (leaf, column) pairs are in the order of their columns.

    which, base, width: shape (leaves,); leaf, position: shape (pairs,), leaf counts in `which`. starts: where each of `columns` begins."""

    numbers: Floats
    which: Indices
    base: Indices
    width: Indices
    leaf: Indices
    position: Indices
    column: Indices
    starts: Indices
    columns: Indices

    def add_one(self, violated: Masks, into: Floats) -> None:
        """Add phi of one row. violated: shape (leaves,), into: shape (columns,)."""
        at = violated.take(self.which) * self.width
        at += self.base
        places = at.take(self.leaf)
        places += self.position
        into += np.bincount(self.column, weights=self.numbers.take(places), minlength=len(into))

    def add_many(self, violated: Masks, into: Floats) -> None:
        """Add phi of rows. violated: shape (leaves, n), into: shape (columns, n)."""
        at = self.base[:, None] + violated[self.which].astype(np.intp) * self.width[:, None]
        step = max(_NUMBERS // violated.shape[1], 1)
        for begin in range(0, len(self.leaf), step):
            part = slice(begin, begin + step)
            found = self.numbers[at[self.leaf[part]] + self.position[part, None]]
            first = int(np.searchsorted(self.starts, begin, side="right")) - 1
            last = int(np.searchsorted(self.starts, begin + step, side="left"))
            edges = np.maximum(self.starts[first:last] - begin, 0)
            into[self.columns[first:last]] += np.add.reduceat(found, edges, axis=0)


@dataclass(frozen=True, slots=True)
class CompiledTrees:
    """One output of an ensemble, ready to be explained. base: the expected value of the output under the covers."""

    trees: TreeEnsemble
    columns: int
    base: float
    conditions: Indices
    levels: tuple[_Level, ...]
    mask: np.dtype[Any]
    table: _Table | None
    integrated: tuple[_Integrated, ...]

    @classmethod
    def of(
        cls, trees: TreeEnsemble, leaf_values: Floats, column_of: Indices, columns: int, *, table_bytes: int = TABLE_BYTES
    ) -> "CompiledTrees":
        """leaf_values: what each place adds to the output, shape (m,). column_of: the column that each feature of the trees is made
        of, shape (features,). columns: how many there are. Raises DeepPath; ValueError if the trees have no covers."""
        if trees.cover is None:
            raise ValueError("trees without covers cannot be explained; count them on rows first (counted_on)")
        levels, conditions, groups, deepest = _walk(trees, leaf_values, column_of)
        mask = np.dtype(next(t for bits, t in _MASKS if deepest <= bits))
        base = sum(float((g.values * g.ratios.prod(axis=1)).sum()) for g in groups)
        small, rest = _within(groups, table_bytes)
        return cls(
            trees, columns, base, conditions,
            tuple(_Level(v.inner, v.leaves, v.bits.astype(mask)) for v in levels), mask, _table(small), tuple(map(_Integrated.of, rest)),
        )  # fmt: skip

    def shapley(self, matrix: Floats) -> Floats:
        """What each column adds to the output. matrix: features, shape (n, features). Gives shape (n, columns)."""
        found = np.zeros((self.columns, len(matrix)))
        for begin in range(0, len(matrix), _ROWS):
            rows = slice(begin, begin + _ROWS)
            self._add(matrix[rows], found[:, rows])
        return found.T

    def _add(self, matrix: Floats, into: Floats) -> None:
        violated = self._violated_by_one(matrix)[:, None] if len(matrix) == 1 else self._violated(matrix)
        if self.table is not None and len(matrix) == 1:
            self.table.add_one(violated[:, 0], into[:, 0])
        elif self.table is not None:
            self.table.add_many(violated, into)
        for group in self.integrated:
            group.add(violated, into)

    def _violated(self, matrix: Floats) -> Masks:
        """Masks of the columns whose conditions do not all hold, by leaf: shape (leaves, n)."""
        holds = (
            self.trees.holds(matrix.T[self.trees.feature[self.conditions]], self.conditions).view(np.uint8).astype(self.mask)
        )
        masks, found, begin = np.zeros((len(self.levels[0].inner) + len(self.levels[0].leaves), len(matrix)), self.mask), [], 0
        for level in self.levels:
            found.append(masks[level.leaves])
            if len(level.inner):
                above, here = masks[level.inner], holds[begin : begin + len(level.inner)] * level.bits
                masks = np.concatenate([above | (here ^ level.bits), above | here])
                begin += len(level.inner)
        return np.concatenate(found)

    def _violated_by_one(self, matrix: Floats) -> Masks:
        """The same for one row, shape (leaves,): arrays of one axis take half the time."""
        values = matrix[0].take(self.trees.feature[self.conditions])
        holds = self.trees.holds(values[:, None], self.conditions).view(np.uint8).ravel().astype(self.mask)
        masks, found, begin = np.zeros(len(self.levels[0].inner) + len(self.levels[0].leaves), self.mask), [], 0
        for level in self.levels:
            found.append(masks.take(level.leaves))
            if len(level.inner):
                bits = level.bits[:, 0]
                above, here = masks.take(level.inner), holds[begin : begin + len(bits)] * bits
                masks = np.concatenate((above | (here ^ bits), above | here))
                begin += len(bits)
        return np.concatenate(found)


_MASKS: Final = ((8, np.uint8), (16, np.uint16), (32, np.uint32), (MOST_COLUMNS, np.uint64))


@cache
def _quadrature(d: int) -> tuple[Floats, Floats]:
    """Points and weights on [0, 1], exact for polynomials of degree d - 1."""
    points, weights = np.polynomial.legendre.leggauss(max((d + 1) // 2, 1))
    return (points + 1) / 2, weights / 2


def _walk(trees: TreeEnsemble, leaf_values: Floats, column_of: Indices) -> tuple[list[_Level], Indices, list[_Leaves], int]:
    """From the roots down: which columns lie on the way to each node, at which bit of the mask, and with which ratio of covers."""
    cover = trees.cover
    assert cover is not None  # noqa: S101  # nosec B101  # for the type
    level = np.flatnonzero(trees.parent < 0)
    columns, ratios, counts = (
        np.full((len(level), 1), -1, dtype=np.intp),
        np.ones((len(level), 1)),
        np.zeros(len(level), np.intp),
    )
    levels, conditions, leaves, seen = [], [], [], 0
    while len(level):
        is_leaf = trees.is_leaf[level]
        inner, leaf = np.flatnonzero(~is_leaf), np.flatnonzero(is_leaf)
        for count in np.unique(counts[leaf]):
            those = leaf[counts[leaf] == count]
            numbers = seen + np.flatnonzero(counts[leaf] == count)
            leaves.append(_Leaves(numbers, columns[those, :count], ratios[those, :count], leaf_values[level[those]]))
        seen += len(leaf)
        places, column = level[inner], column_of[trees.feature[level[inner]]]
        same = columns[inner] == column[:, None]
        at = np.where(same.any(axis=1), same.argmax(axis=1), counts[inner])
        if len(at) and at.max() >= MOST_COLUMNS:
            raise DeepPath(f"a path has conditions on more than {MOST_COLUMNS} columns")
        levels.append(_Level(inner, leaf, (np.uint64(1) << at.astype(np.uint64))[:, None]))
        conditions.append(places)
        columns, ratios, counts = _below(columns[inner], ratios[inner], counts[inner], at, column)
        for side, children in enumerate((trees.when_true[places], trees.when_false[places])):
            rows = np.arange(len(inner)) + side * len(inner)
            ratios[rows, at] *= np.divide(cover[children], cover[places], out=np.zeros(len(places)), where=cover[places] > 0)
        level = np.concatenate([trees.when_true[places], trees.when_false[places]])
    by_count: dict[int, list[_Leaves]] = {}
    for group in leaves:
        by_count.setdefault(group.columns.shape[1], []).append(group)
    groups = [_joined(found) for _, found in sorted(by_count.items())]
    return levels, np.concatenate(conditions), groups, max(by_count)


def _below(columns: Indices, ratios: Floats, counts: Indices, at: Indices, column: Indices) -> tuple[Indices, Floats, Indices]:
    """The same of both children of each node, the one for a condition that holds first."""
    if len(at) and at.max() >= columns.shape[1]:
        columns = np.pad(columns, ((0, 0), (0, 1)), constant_values=-1)
        ratios = np.pad(ratios, ((0, 0), (0, 1)), constant_values=1.0)
    columns = columns.copy()
    columns[np.arange(len(at)), at] = column
    counts = np.maximum(counts, at + 1)
    return np.concatenate([columns, columns]), np.concatenate([ratios, ratios]), np.concatenate([counts, counts])


def _joined(groups: list[_Leaves]) -> _Leaves:
    return _Leaves(*(np.concatenate([getattr(g, name) for g in groups]) for name in ("which", "columns", "ratios", "values")))


def _within(groups: list[_Leaves], table_bytes: int) -> tuple[list[_Leaves], list[_Leaves]]:
    """Leaves that get a table, and those that do not."""
    small: list[_Leaves] = []
    rest: list[_Leaves] = []
    for group in (g for g in groups if g.columns.shape[1] > 0):
        d = group.columns.shape[1]
        fit = min(table_bytes // ((d << d) * 8), len(group.which)) if d <= TABLE_BITS else 0
        table_bytes -= fit * (d << d) * 8
        small += [_part(group, slice(0, fit))] if fit else []
        rest += [_part(group, slice(fit, None))] if fit < len(group.which) else []
    return small, rest


def _part(group: _Leaves, rows: slice) -> _Leaves:
    return _Leaves(group.which[rows], group.columns[rows], group.ratios[rows], group.values[rows])


def _parts(group: _Leaves, rows: int) -> Iterator[_Leaves]:
    """A group in parts whose intermediate arrays have about _NUMBERS numbers."""
    d = group.columns.shape[1]
    step = max(_NUMBERS // (rows * d * ((d + 1) // 2)), 1)
    for begin in range(0, len(group.which), step):
        yield _part(group, slice(begin, begin + step))


def _table(groups: list[_Leaves]) -> _Table | None:
    if not groups:
        return None
    numbers, base, width, begin = [], [], [], 0
    for group in groups:
        d = group.columns.shape[1]
        numbers += [part.every().ravel() for part in _parts(group, 1 << d)]
        base.append(begin + np.arange(len(group.which)) * (d << d))
        width.append(np.full(len(group.which), d))
        begin += len(group.which) * (d << d)
    widths = np.concatenate(width)
    column = np.concatenate([group.columns.ravel() for group in groups])
    leaf = np.repeat(np.arange(len(widths)), widths)
    position = np.concatenate([np.tile(np.arange(g.columns.shape[1]), len(g.which)) for g in groups])
    order = np.argsort(column, kind="stable")
    columns, starts = np.unique(column[order], return_index=True)
    which = np.concatenate([group.which for group in groups])
    return _Table(
        np.concatenate(numbers),
        which,
        np.concatenate(base),
        widths,
        leaf[order],
        position[order],
        column[order],
        starts,
        columns,
    )
