"""What a detector declares about its features, as plain values. `declared` makes Feast objects of it.

Pure: no Feast, no files. Datatypes are the Open Inference Protocol's: FP32, FP64, INT32, INT64, BOOL, BYTES (text)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

Default = float | int | bool | str

DATATYPES: Final = ("FP32", "FP64", "INT32", "INT64", "BOOL", "BYTES")


class DeclarationError(ValueError):
    """A declaration is not valid; the message names the field and the way out."""


@dataclass(frozen=True, slots=True)
class Column:
    """A named, typed column: an entity key, a request-time field, an aggregate or the output of a transform.

    datatype: one of DATATYPES. default: the value of a feature that is missing or too old; keys and request fields do not use it. Raises
    DeclarationError for an unknown datatype."""

    name: str
    datatype: str
    default: Default = 0
    description: str = ""

    def __post_init__(self) -> None:
        if self.datatype not in DATATYPES:
            raise DeclarationError(
                f"column {self.name!r}: datatype is {self.datatype!r}, expected one of {', '.join(DATATYPES)}"
            )


@dataclass(frozen=True, slots=True)
class Window:
    """Aggregates over the `seconds` before a tick, the tick included. A row older than `ttl_s` is not used. Raises DeclarationError
    unless both are positive."""

    seconds: int
    ttl_s: int

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.ttl_s <= 0:
            raise DeclarationError(f"window of {self.seconds} s with ttl {self.ttl_s} s: both must be over 0")


@dataclass(frozen=True, slots=True)
class Transform:
    """A computed (on-demand) view: a function of the request-time fields.

    reference: `module:function`, a function of this repository; it is imported by name and never unpickled. outputs: the columns it
    gives; Feast infers their types from Python values, so they are FP64, INT64, BOOL or BYTES, else DeclarationError is raised.
    parameters: keyword arguments of the function, JSON values."""

    reference: str
    outputs: tuple[Column, ...]
    parameters: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for column in self.outputs:
            if column.datatype not in ("FP64", "INT64", "BOOL", "BYTES"):
                raise DeclarationError(
                    f"transform {self.reference}: output {column.name!r} is {column.datatype}, expected FP64, INT64, BOOL or BYTES"
                )


@dataclass(frozen=True, slots=True)
class Declaration:
    """Everything that Feast needs to know about one detector. Raises DeclarationError if the parts do not fit together.

    keys: the join keys, one entity each. view_prefix, request_view: names of the stored and the computed views; if empty, they are made
    from the detector's name. version: of the feature service; a bundle names the service that it was trained on."""

    name: str
    keys: tuple[Column, ...]
    windows: tuple[Window, ...] = ()
    aggregates: tuple[Column, ...] = ()
    request_fields: tuple[Column, ...] = ()
    transform: Transform | None = None
    version: int = 1
    view_prefix: str = ""
    request_view: str = ""

    def __post_init__(self) -> None:
        if not self.keys:
            raise DeclarationError(f"detector {self.name!r}: keys is empty; features are looked up by at least one key")
        if bool(self.windows) != bool(self.aggregates):
            raise DeclarationError(f"detector {self.name!r}: windows and aggregates come together, one of them is empty")
        if self.transform is not None and not self.request_fields:
            raise DeclarationError(f"detector {self.name!r}: its transform has no request_fields to work on")
        if not self.windows and self.transform is None:
            raise DeclarationError(f"detector {self.name!r}: neither windows nor a transform, so it has no features to serve")
        names = [c.name for c in (*self.keys, *self.request_fields, *self.aggregates)]
        if len(set(names)) != len(names):  # Feast takes a request field for the stored feature of the same name, and drops it
            raise DeclarationError(f"detector {self.name!r}: keys, request_fields and aggregates share a name in {names}")
        if len({w.seconds for w in self.windows}) != len(self.windows):
            raise DeclarationError(f"detector {self.name!r}: two windows have the same length")

    @property
    def service(self) -> str:
        """Name of the feature service."""
        return f"{self.name}_v{self.version}"

    @property
    def on_demand_view(self) -> str:
        """Name of the computed view."""
        return self.request_view or f"{self.name}_request"

    def view(self, window: Window) -> str:
        """Name of the stored view of one window."""
        prefix = self.view_prefix or f"{self.name}_{'_'.join(key.name for key in self.keys)}"
        return f"{prefix}_{window.seconds}s"

    def features(self) -> tuple[str, ...]:
        """Full names (`view__feature`) of every feature of the service, in its order."""
        stored = tuple(f"{self.view(w)}__{a.name}" for w in self.windows for a in self.aggregates)
        computed = () if self.transform is None else tuple(f"{self.on_demand_view}__{c.name}" for c in self.transform.outputs)
        return stored + computed
