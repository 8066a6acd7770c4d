"""The segments of a request's rows: by the entity key that the row has, or the one that the request names. Core."""

from collections.abc import Sequence

from serving.messages import InferRequest
from serving.scoring.entity import ENTITY, canonical
from serving.scoring.inputs import ColumnRows, TensorRows
from serving.segments.mapping import SegmentMap


def row_segments(mapping: SegmentMap, rows: TensorRows | ColumnRows, request: InferRequest) -> Sequence[tuple[int, ...]] | None:
    """Places in `mapping.segments`, a row each; None where rows name no entity, or have a key of several columns.

    The request was accepted, so its parameter `entity` is a scalar."""
    if isinstance(rows, ColumnRows) and rows.keys:
        if len(rows.keys) != 1:
            return None
        (column,) = rows.keys.values()
        find = mapping.find
        return [find(value if type(value) is bytes else canonical(value)) for value in column.tolist()]
    named = request.parameters.get(ENTITY) if request.parameters else None
    return None if named is None else [mapping.find(canonical(named))] * rows.rows
