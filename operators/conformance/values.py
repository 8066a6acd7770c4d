"""The nouns of the kit: tensors, what is known of a model and a server, a check and its result.

Pure. Tensors are plain Python here on purpose: no numpy, so that a wrap-around or a rounding is the server's, not ours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NoReturn

from operators.conformance.exchange import Call, Reply

Element = bool | int | float | bytes
Parameter = bool | int | float | str


class Level(StrEnum):
    """How binding a requirement is. MUST: the specification's own words or HTTP's; SHOULD: what clients rely on."""

    MUST = "MUST"
    SHOULD = "SHOULD"


class Status(StrEnum):
    """The outcome of a check."""

    PASS = "pass"  # noqa: S105  # nosec B105  # a verdict, no secret
    FAIL = "fail"
    SKIP = "skip"


class Failed(Exception):
    """The server does not meet a requirement; the message says what it did."""


class Skipped(Exception):
    """A check does not apply here; the message says why."""


def expect(claim: bool, otherwise: str) -> None:
    """Fail the check with `otherwise` unless the claim holds."""
    if not claim:
        raise Failed(otherwise)


def fail(detail: str) -> NoReturn:
    """Fail the check."""
    raise Failed(detail)


def skip(reason: str) -> NoReturn:
    """Say that the check does not apply."""
    raise Skipped(reason)


STRUCT_CODES: Final[Mapping[str, str]] = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
"""Datatypes of fixed size and their struct codes (little-endian)."""
DATATYPES: Final = frozenset(STRUCT_CODES) | {"BYTES", "BF16"}
INTEGERS: Final = frozenset(d for d in STRUCT_CODES if "INT" in d)
FLOATS: Final = frozenset({"FP16", "FP32", "FP64"})


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor as metadata describes it; -1 in `shape` is a variable dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor with its elements, flat and row-major. Elements of BYTES are `bytes`."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """An inference request, whichever door it will go through. `outputs` are names; empty asks for all."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...] = ()
    id: str | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """An inference response, read by this kit's own decoders. `version` and `id` are empty when the server gave none."""

    model: str
    version: str
    id: str
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts about a model from before the checks.

    valid: inputs that the server accepted, or the best guess if it accepted none. baseline: its answer to them over HTTP (or
    gRPC, without HTTP); None if it accepted none. is_repeatable: the same request twice gave the same answer."""

    name: str
    versions: tuple[str, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    valid: tuple[Tensor, ...]
    baseline: Answer | None
    is_repeatable: bool = True

    @property
    def request(self) -> Request:
        """A request this model accepts. Skips the check if none is known."""
        return Request(self.valid) if self.baseline is not None else skip("no request is known that this model accepts")

    @property
    def answer(self) -> Answer:
        """The answer to `request`."""
        return self.baseline if self.baseline is not None else skip("no request is known that this model accepts")


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Facts about the server: the extensions it declares, its doors, and whether it may be changed by the checks."""

    extensions: frozenset[str]
    has_http: bool
    has_grpc: bool
    may_change: bool = False

    def declares(self, *names: str) -> bool:
        """Whether the server declares one of these extensions."""
        return any(extension.partition("(")[0] in names for extension in self.extensions)


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of a check."""

    server: ServerFacts
    model: ModelFacts


Ask = Callable[[Subject], tuple[Call, ...]]
CheckJudge = Callable[[Subject, tuple[Reply, ...]], str | None]


@dataclass(frozen=True, slots=True)
class Check:
    """One requirement. `ask` gives the calls to make, in order; `judge` returns a detail, or raises Failed or Skipped.

    per_model: run for each model, not once for the server. section: where the requirement comes from."""

    id: str
    section: str
    level: Level
    requires: str
    ask: Ask
    judge: CheckJudge
    per_model: bool = True

    @property
    def door(self) -> str:
        """`http` or `grpc`."""
        return self.id.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one check. model is None for a check of the server."""

    check: Check
    model: str | None
    status: Status
    detail: str
    seconds: float
