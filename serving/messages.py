"""The nouns of the Open Inference Protocol v2, as values: what the doors decode into and encode from.

Pure: no HTTP, no gRPC, no JSON. What every request makes anew is a msgspec struct: as frozen as the dataclasses, and made in a
tenth of their time (docs/decisions/0018). Source: the Open Inference Protocol specification (kserve/open-inference-protocol), v2."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

Parameters = Mapping[str, bool | int | float | str]
NO_PARAMETERS: Final[Parameters] = MappingProxyType({})

EXPLAIN: Final = "explain"
"""Request parameter that asks for an explanation (`shap`, `rules`, `counterfactual`); of the answer: which was given."""
EXPLANATION: Final = "explanation"
"""The output that holds it: BYTES, JSON for each row."""

DTYPES: Final[Mapping[str, np.dtype[Any]]] = MappingProxyType(
    {
        "BOOL": np.dtype(np.bool_),
        "UINT8": np.dtype(np.uint8),
        "UINT16": np.dtype(np.uint16),
        "UINT32": np.dtype(np.uint32),
        "UINT64": np.dtype(np.uint64),
        "INT8": np.dtype(np.int8),
        "INT16": np.dtype(np.int16),
        "INT32": np.dtype(np.int32),
        "INT64": np.dtype(np.int64),
        "FP16": np.dtype(np.float16),
        "FP32": np.dtype(np.float32),
        "FP64": np.dtype(np.float64),
        "BYTES": np.dtype(np.object_),
    }
)
"""Protocol datatype -> numpy dtype. BYTES tensors are object arrays of `bytes`."""

DATATYPES: Final[Mapping[np.dtype[Any], str]] = MappingProxyType({dtype: name for name, dtype in DTYPES.items()})
"""numpy dtype -> protocol datatype."""


class Tensor(msgspec.Struct, frozen=True, gc=False):
    """A named tensor of a request or an answer. `data` has the tensor's shape and the dtype of DTYPES[datatype] (BYTES: object array of
    bytes).

    is_finite: known to hold no NaN and no infinity, as nothing has that came as JSON; nobody need look again. texts: what codecs
    made of it, for a tensor that is made once and answered often; None for one that comes once."""

    name: str
    datatype: str
    data: NDArray[Any]
    parameters: Parameters = NO_PARAMETERS
    is_finite: bool = False
    texts: dict[str, bytes] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return self.data.shape

    def take(self, index: NDArray[np.intp]) -> "Tensor":
        """These rows of it."""
        return Tensor(self.name, self.datatype, self.data[index], self.parameters, self.is_finite)


class RequestedOutput(msgspec.Struct, frozen=True, gc=False):
    """An output the client asked for by name."""

    name: str
    parameters: Parameters = NO_PARAMETERS


class InferRequest(msgspec.Struct, frozen=True, gc=False):
    """One inference request, whichever door it came through. arrived_ns: wall clock when the door began to read it, 0: not said.

    version: None means the model's default version. deadline_s: seconds the client still waits, None if it did not say.
    traceparent: W3C trace context header, if any. variant: the variant a header asks for, None if none does (the parameter of
    that name may). tenant: whom a header says it is for, likewise. caller, caller_tenant: who asks and for which tenant, as the access
    policy says; empty: nobody, none. route: the HTTP path it came by, with `{model}` for the name; empty: that of the V2 protocol.
    headers a door hands on are in `parameters` only if the protocol says so."""

    model: str
    version: str | None
    inputs: tuple[Tensor, ...]
    id: str | None = None
    parameters: Parameters = NO_PARAMETERS
    outputs: tuple[RequestedOutput, ...] = ()
    deadline_s: float | None = None
    traceparent: str | None = None
    door: str = "http"
    variant: str | None = None
    arrived_ns: int = 0
    tenant: str | None = None
    caller: str = ""
    caller_tenant: str = ""
    route: str = ""


class AnswerTrace(Protocol):
    """The trace of an answer that a door still has to encode."""

    def encoded(self, size: int) -> None:
        """The answer is encoded, in so many bytes."""
        ...


class InferAnswer(msgspec.Struct, frozen=True, gc=False):
    """The answer to one inference request. `outputs` are in the order the client asked for, or the model's own.

    trace: told when the answer is encoded, if the request is traced. It is not sent."""

    model: str
    version: str
    outputs: tuple[Tensor, ...]
    id: str | None = None
    parameters: Parameters = NO_PARAMETERS
    trace: AnswerTrace | None = None


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """A model input or output; -1 in `shape` is a variable dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a client may know of a model. `parameters` carries our own additions (revision, tensor inputs), JSON-able."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """Name, version and protocol extensions of this server."""

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """What one model version has answered since this replica started. Times are wall time within the server, nanoseconds.

    last_ms: when it last answered, milliseconds since the epoch; 0 if it never did."""

    name: str
    version: str
    successes: int = 0
    success_ns: int = 0
    failures: int = 0
    failure_ns: int = 0
    last_ms: int = 0


@dataclass(frozen=True, slots=True)
class RepositoryEntry:
    """One model version in the repository. state: READY, UNAVAILABLE, LOADING or UNLOADING; reason says why not READY."""

    name: str
    version: str
    state: str
    reason: str = ""
