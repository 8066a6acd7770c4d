"""What a model answers to some rows of a file, row by row.

A request is answered or refused as a whole. One that is refused, or answered with another number of rows, is asked again in halves,
down to the rows at fault. Those are rejected with the reason; the others are answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from serving.audit.record import NotRecorded
from serving.errors import ServingError
from serving.messages import EXPLANATION, InferAnswer, InferRequest
from serving.models.verdicts import VERDICTS

if TYPE_CHECKING:
    from operators.cli.models.rows import Chunk
    from serving.messages import Tensor
    from serving.models.manifest import Manifest, TensorSpec

_DEADLINE_S: Final = 600.0


class Service(Protocol):
    """The service that answers: serving.replica.inference_service.ModelServer."""

    async def infer(self, request: InferRequest) -> InferAnswer:
        """Raises ServingError."""


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """The result of one row: its values by name, or why it was rejected."""

    row: int
    values: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def verdict(self) -> str | None:
        """Its verdict; None if the model gives none."""
        found = self.values.get("verdict")
        return found if found in VERDICTS else None

    def body(self) -> dict[str, Any]:
        """The JSON line. `row` is the row's number even if an output has that name."""
        if self.error is not None:
            return {"row": self.row, "error": self.error}
        return {"row": self.row, **{name: value for name, value in self.values.items() if name != "row"}}


def is_by_row(manifest: "Manifest") -> bool:
    """Whether a request may have many rows: every tensor that is sent or answered has a free number of them."""
    answered = [t for t in manifest.outputs if manifest.score is None or t.name == manifest.score.output]
    return all(t.shape[:1] == (-1,) for t in (*manifest.inputs, *answered))


async def answer_rows(service: Service, manifest: "Manifest", parameters: Mapping[str, str], chunk: "Chunk") -> list[ScoredRow]:
    """Every row of a chunk, in the file's order. Raises NotRecorded where the prediction log is strict and takes no record."""
    lines = [ScoredRow(row, error=why) for row, why in chunk.rejected]
    open_parts = [chunk] if chunk.rows else []
    while open_parts:
        part = open_parts.pop()
        request = InferRequest(manifest.name, None, part.inputs, parameters=parameters, door="batch", deadline_s=_DEADLINE_S)
        try:
            lines += _lines(part, await service.infer(request), manifest)
        except NotRecorded:
            raise  # halves would not be recorded either
        except (ServingError, _OtherRows) as problem:
            if len(part.rows) > 1:
                open_parts += reversed(part.halves())
            else:
                lines.append(ScoredRow(part.rows[0], error=str(problem)))
    return sorted(lines, key=lambda line: line.row)


class _OtherRows(Exception):
    """The answer has not one entry for each row."""


def _lines(part: "Chunk", answer: InferAnswer, manifest: "Manifest") -> list[ScoredRow]:
    declared = {t.name: t for t in manifest.outputs}
    columns = {t.name: _by_row(t, len(part.rows), declared.get(t.name)) for t in answer.outputs}
    if EXPLANATION in columns and EXPLANATION not in declared:
        columns[EXPLANATION] = [orjson.loads(body) for body in columns[EXPLANATION]]
    columns["receipt"] = [answer.parameters.get("receipt")] * len(part.rows)
    named = {**part.keys, **columns}
    return [ScoredRow(row, {name: values[i] for name, values in named.items()}) for i, row in enumerate(part.rows)]


def _by_row(tensor: "Tensor", rows: int, spec: "TensorSpec | None") -> list[Any]:
    """The entry of each row; of a graph's output without rows, the whole of it for the only one."""
    shape = tensor.shape
    if spec is not None and spec.shape[:1] not in ((-1,), (1,)) and rows == 1:
        return [_plain(tensor.data.tolist())]
    if shape[:1] != (rows,):
        raise _OtherRows(
            f"the model answered {tensor.name!r} of shape {list(shape)} to {rows} row(s); it dropped or added rows"
        )
    return [_plain(value) for value in tensor.data.tolist()] if tensor.datatype == "BYTES" else list(tensor.data.tolist())


def _plain(value: Any) -> Any:
    """Text of bytes, however deep they lie."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value
