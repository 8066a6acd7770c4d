"""The ports of the core: protocols of one to four methods, and the values that cross them.

Adapters implement these; the core imports nothing else of them. Each port has a fake in tests/fakes that passes the same
contract tests as the real adapter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.messages import InferAnswer, InferRequest, ModelMetadata, ModelStatistics, RepositoryEntry, ServerMetadata

Columns = Mapping[str, NDArray[Any]]
"""Named columns of one batch, each of shape (n,). Strings are object arrays of `bytes`."""


class Clock(Protocol):
    """Time comes in as an argument; this is where it comes from."""

    def now_us(self) -> int:
        """Wall clock, microseconds since the epoch, UTC."""
        ...

    def monotonic_s(self) -> float:
        """A clock that never goes back, seconds."""
        ...


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """A join key or request-time field: its name and protocol datatype (BYTES for strings)."""

    name: str
    datatype: str


@dataclass(frozen=True, slots=True)
class FeatureInfo:
    """One feature of a service. name: `view__feature`. default: stands in when the value is missing or too old.

    ttl_s: oldest age that is still used, seconds; None means any age. view: the feature view it comes from (an on-demand
    view for computed features)."""

    name: str
    datatype: str
    view: str
    default: float | int | bool | str
    ttl_s: float | None


@dataclass(frozen=True, slots=True)
class FeatureServiceInfo:
    """What one feature service needs and gives. `features` are in the service's own, fixed order."""

    name: str
    join_keys: tuple[FieldInfo, ...]
    request_fields: tuple[FieldInfo, ...]
    features: tuple[FeatureInfo, ...]


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """One tensor: its dtype, the columns it takes, and whether it has a second dimension."""

    name: str
    dtype: np.dtype[Any]
    columns: tuple[str, ...]
    is_matrix: bool


class ReadOutcome(Enum):
    """How a read of stored features went. All but OK mean defaults in every row, and none of them raises."""

    OK = "ok"
    FAILED = "failed"
    """The store refused it, or answered something else than was asked."""
    TIMED_OUT = "timed_out"
    NO_CONNECTION = "no_connection"
    """No connection was open when the read began."""
    LOST = "lost"
    """The connection broke while the read was on its way."""
    FULL = "full"
    """The limit of waiting reads is reached."""
    NOT_ASKED = "not_asked"
    """The store's breaker is open; the store was not asked."""


class FeatureRows(msgspec.Struct):  # one is made for every request; a frozen dataclass takes ten times as long to make
    """Features of a batch of n rows. Nobody changes it once it is made.

    columns: by feature name, each of shape (n,): float32/64, int or bool arrays, or object arrays (str, bytes, lists); they may be
    made when they are asked for.
    defaulted: by feature name, bool (n,), only for features where at least one row was defaulted.
    degraded: bool (n,): a stored feature of the row was missing, too old or not read in time.
    event_times_us: by view name, int64 (n,), microseconds since the epoch, 0 where there is none.
    oldest_age_ms: the oldest age among the values used, milliseconds; None if no stored value was used.
    outcome: how the store answered; what a breaker judges.
    direct: the graph's tensors straight from what was read: `direct(assembly, fields)` is what
    `assemble(assembly, {**fields, **columns}, n)` gives, sooner. None if the reader knows no shorter way.
    sources: a word a row: near_cache if a value of the row was in memory, else store; empty where there is no near cache."""

    columns: Columns
    defaulted: Mapping[str, NDArray[np.bool_]]
    degraded: NDArray[np.bool_]
    event_times_us: Mapping[str, NDArray[np.int64]]
    oldest_age_ms: float | None
    outcome: ReadOutcome = ReadOutcome.OK
    direct: Callable[[tuple[TensorPlan, ...], Columns], dict[str, NDArray[Any]]] | None = None
    sources: Sequence[str] = ()


class FeatureReader(Protocol):
    """Online features for a batch."""

    def service(self, name: str) -> FeatureServiceInfo:
        """Describe a feature service. Raises FeatureError if there is none of that name."""
        ...

    async def read(
        self, service: str, keys: Columns, request: Columns, at_us: NDArray[np.int64], timeout_s: float | None = None
    ) -> FeatureRows:
        """Read one batch.

        keys: one column per join key. request: one column per request-time field (for on-demand views). at_us: int64 (n,),
        the moment each row's ages are judged at, microseconds since the epoch (event time, else now).
        A store that fails or does not answer within timeout_s gives defaults, with every row degraded; that never raises.
        Raises FeatureError for an unknown service or a key or field that is missing or of the wrong type."""
        ...

    async def close(self) -> None:
        """Close connections and stop refreshing."""
        ...


class StopSignal:
    """Stops a run in another thread. The waiting side calls `request`; the running side says how to end by `on_request`.

    A run that is requested to stop before it began does not begin."""

    __slots__ = ("_end", "is_requested")

    def __init__(self) -> None:
        self.is_requested = False
        self._end: Callable[[], None] | None = None

    def request(self) -> None:
        """Ask the run to end soon."""
        self.is_requested = True
        if self._end is not None:
            self._end()

    def on_request(self, end: Callable[[], None]) -> None:
        """Call `end` when a stop is requested; at once if it was requested before."""
        self._end = end
        if self.is_requested:
            end()


class Model(Protocol):
    """A loaded model: named tensors in, named tensors out."""

    def run(
        self, tensors: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None, stop: StopSignal | None = None
    ) -> dict[str, NDArray[Any]]:
        """Run once. BYTES tensors are object arrays of `str`. stop: ends a run whose caller has gone.

        Raises ModelError if the runtime refuses the input."""
        ...


@dataclass(frozen=True, slots=True)
class RuleVerdicts:
    """What rules say of n rows. codes: shape (n,), 0 benign, 1 investigate, 2 alert. matched: ids of the rules that hold, by row."""

    codes: NDArray[np.intp]
    matched: tuple[tuple[str, ...], ...]


RuleUse = Literal["fallback", "verdict", "member", "feature"]
"""What a bundle's rules do while its model answers: nothing, raise its verdict, vote in an ensemble, or be columns of the model. Where the
model cannot answer they answer in its place, whatever they do else."""


class Rules(Protocol):
    """Rules of one bundle, which answer when its model or features cannot. use: what they do beside that."""

    @property
    def use(self) -> RuleUse:
        """What they do while the model answers."""
        ...

    def applies(self, columns: frozenset[str]) -> bool:
        """Whether any rule can be asked with these columns."""
        ...

    def judge(self, columns: Columns, rows: int) -> RuleVerdicts:
        """Verdicts of a batch. Rules whose columns are not all there are not asked. Never raises."""
        ...

    def features(self, columns: Columns, rows: int) -> dict[str, NDArray[np.float32]]:
        """The columns of a model that takes rules as features (serving.rules.declared.rules_spec), each of shape (n,). Never raises."""
        ...


class Suppressions(Protocol):
    """Known causes of false alarms, of one revision."""

    @property
    def columns(self) -> frozenset[str]:
        """The columns that they name."""
        ...

    @property
    def rows_at_once(self) -> int:
        """How many rows to judge before the loop may turn to others: a few milliseconds."""
        ...

    def lowers(self, code: int, at_us: int) -> bool:
        """Whether some entry may change this verdict at this time."""
        ...

    def judge(self, columns: Columns, codes: Sequence[int], at_us: int) -> list[tuple[str, int] | None]:
        """For each row the first entry that holds, has not expired and lowers its verdict: its id and the new code. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """Rows that a model has judged. tensors: the graph's inputs as the runtime takes them. scores: (n,). verdicts: a word each. point:
    the operating point; investigate, alert: the scores from which it gives these verdicts."""

    tensors: Mapping[str, NDArray[Any]]
    scores: NDArray[np.float32]
    verdicts: Sequence[str]
    point: str
    investigate: float
    alert: float


class RowExplainer(Protocol):
    """Says why a model judged rows as it did."""

    def explain(self, method: str, rows: JudgedRows, budget_s: float) -> list[bytes]:
        """JSON for each row. Pure work for a thread; takes about budget_s at most, then gives the best that it has, with its error.

        Raises BadRequest for a method that cannot explain this model, DeadlineExceeded if nothing was found in time."""
        ...


class CacheDown(Exception):
    """The cache cannot be asked now; to a request that is a miss."""


class Cache(Protocol):
    """Predictions by key, for a while. Values are opaque; what is put may be gone at any time, and is after the cache's time to live."""

    async def get(self, key: bytes, within_s: float) -> bytes | None:
        """The value, or None if there is none. Raises CacheDown if it cannot be asked, or does not answer in time."""
        ...

    def put(self, key: bytes, value: bytes) -> None:
        """Keep a value; returns at once and never raises. One that is too large is not kept."""
        ...

    async def close(self) -> None:
        """Let go of memory and connections."""
        ...


class InferenceService(Protocol):
    """What the doors ask: the protocol's verbs over values. Raises only serving.errors.ServingError.

    Implemented by serving.replica.inference_service.ModelServer."""

    def server_metadata(self) -> ServerMetadata:
        """Name, version, extensions."""
        ...

    def is_live(self) -> bool:
        """The process answers."""
        ...

    def is_ready(self) -> bool:
        """What should be served was loaded or refused once, and some of it answers."""
        ...

    def is_model_ready(self, name: str, version: str | None) -> bool:
        """Raises NotFound for a model or version that is not known."""
        ...

    def on_change(self, tell: Callable[[], None]) -> None:
        """From now on call this, on the service's loop, whenever `is_ready` or `is_model_ready` may say something else."""
        ...

    def model_metadata(self, name: str, version: str | None) -> ModelMetadata:
        """Raises NotFound."""
        ...

    def reads_features(self, name: str, version: str | None) -> bool:
        """Whether any variant that may answer reads stored features. Raises NotFound, Unavailable."""
        ...

    async def infer(self, request: InferRequest) -> InferAnswer:
        """Answer one request."""
        ...

    def statistics(self, name: str | None, version: str | None) -> tuple[ModelStatistics, ...]:
        """Of one model version, every version of a model, or (name None) everything loaded. Raises NotFound."""
        ...

    def repository_index(self, *, only_ready: bool) -> tuple[RepositoryEntry, ...]:
        """Every model version known, loaded or not."""
        ...

    async def load(self, name: str) -> None:
        """Probe and load a model of the repository. Raises NotFound, or BadRequest if its bundle is refused."""
        ...

    async def unload(self, name: str) -> None:
        """Stop serving a model. Raises NotFound."""
        ...
