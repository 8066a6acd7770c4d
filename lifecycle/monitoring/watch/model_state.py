"""The monitor's state of one model, as a value and as JSON without loss. Pure.

It is bounded: by the columns of the model, most_segments, and the latest signs and revisions. The position in the log and the alarms
that are not yet handed on are in it too, so that one atomic write of it is all that a look leaves behind."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import msgspec
import numpy as np

from lifecycle.monitoring.alarm import Alarm
from lifecycle.monitoring.sequential.betting import Capital
from lifecycle.monitoring.watch.labelled_alerts import LabelWatch
from lifecycle.monitoring.watch.stream_set import StreamSet

FORMAT: Final = 1
_NESTED: Final = ("whole", "segments", "labelled")
LATEST: Final = 20
"""How many signs and earlier revisions are remembered."""


class StateError(Exception):
    """A state cannot be read; the message says where, and the way out."""


class SeenSign(msgspec.Struct, frozen=True):
    """A quick sign of a change of the score: it only informs."""

    detector: str
    time_us: int


class Revision(msgspec.Struct, frozen=True):
    """A revision that answered as stable. until_us: when the next one took its place."""

    revision: str
    version: str
    since_us: int
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class ModelState:
    """What the monitor knows of one model, and how far it has read the log. Frozen: a look gives the next.

    position: how far each segment of the log was read, in bytes."""

    model: str
    position: Mapping[str, int] = field(default_factory=dict)
    current: Revision | None = None
    earlier: tuple[Revision, ...] = ()
    shape: tuple[int, int] = (0, 0)
    """Of the reference: (subjects, bins)."""
    method: str = ""
    """What the evidence depends on (WatchSettings.method)."""
    whole: StreamSet | None = None
    """All rows; None while nothing is watched."""
    segments: Mapping[str, StreamSet] = field(default_factory=dict)
    labelled: LabelWatch = field(default_factory=LabelWatch)
    """What analysts say of its alerts."""
    unwatched: str = ""
    """Why nothing is watched."""
    rows: int = 0
    """Rows of the current revision that were looked at."""
    passed_over: int = 0
    """Rows of any revision that were not: degraded, of another variant, of an earlier revision, or of a segment beyond the most."""
    newest_us: int = 0
    """Time of the newest row."""
    looked_us: int = 0
    """When the monitor looked last."""
    looks: int = 0
    alarms: int = 0
    """Alarms so far."""
    signs: tuple[SeenSign, ...] = ()
    unsent: tuple[Alarm, ...] = ()
    """Alarms of the last look. They are handed on after the state is on the disk."""

    def with_position(self, position: Mapping[str, int]) -> "ModelState":
        """With another place in the log."""
        return replace(self, position=dict(position))

    def without_unsent(self) -> "ModelState":
        """After its alarms were handed on."""
        return replace(self, unsent=()) if self.unsent else self


def encode_state(state: ModelState) -> str:
    """One JSON document."""
    plain = {f.name: getattr(state, f.name) for f in fields(state) if f.name not in _NESTED}
    plain["whole"] = None if state.whole is None else _plain(state.whole)
    plain["segments"] = {name: _plain(found) for name, found in state.segments.items()}
    labelled = {f.name: getattr(state.labelled, f.name) for f in fields(state.labelled) if f.name != "streams"}
    plain["labelled"] = labelled | {"streams": None if state.labelled.streams is None else _plain(state.labelled.streams)}
    return msgspec.json.encode({"format": FORMAT, **plain}).decode()


def decode_state(body: bytes, where: str) -> ModelState:
    """The state of a document. Raises StateError."""
    try:
        plain = msgspec.json.decode(body)
        if plain.pop("format") != FORMAT:
            raise StateError(f"{where}: was written by another version of Vedette; remove it, and the monitor starts again")
        whole, segments, labelled = (plain.pop(name) for name in _NESTED)
        labels_of = labelled.pop("streams")
        return ModelState(
            **{
                **plain,
                "current": msgspec.convert(plain["current"], Revision | None),
                "earlier": msgspec.convert(plain["earlier"], tuple[Revision, ...]),
                "signs": msgspec.convert(plain["signs"], tuple[SeenSign, ...]),
                "unsent": msgspec.convert(plain["unsent"], tuple[Alarm, ...]),
                "shape": tuple(plain["shape"]),
                "whole": None if whole is None else _streams(whole),
                "labelled": LabelWatch(**labelled, streams=None if labels_of is None else _streams(labels_of)),
                "segments": {name: _streams(found) for name, found in segments.items()},
            }
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise StateError(
            f"{where}: is not a state of the monitor ({problem}); remove it, and the monitor starts again. Alarms are kept elsewhere"
        ) from problem


def _plain(streams: StreamSet) -> dict[str, Any]:
    capital = {f.name: _value(getattr(streams.capital, f.name)) for f in fields(streams.capital)}
    return {f.name: _value(getattr(streams, f.name)) for f in fields(streams) if f.name != "capital"} | {"capital": capital}


def _streams(plain: Mapping[str, Any]) -> StreamSet:
    capital = Capital(**{name: _array(value) for name, value in plain["capital"].items()})
    found = {name: _array(value) for name, value in plain.items() if name != "capital"}
    return StreamSet(**{**found, "capital": capital, "signs": tuple(float(v) for v in plain["signs"])})


def _value(value: Any) -> Any:
    """Arrays as their bytes, little-endian: numbers come back to the bit."""
    if not isinstance(value, np.ndarray):
        return value
    little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
    return {"dtype": value.dtype.str.lstrip("<=|>"), "shape": value.shape, "raw": base64.b64encode(little.tobytes()).decode()}


def _array(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    dtype = np.dtype("<" + value["dtype"])
    return np.frombuffer(base64.b64decode(value["raw"]), dtype=dtype).reshape(value["shape"]).astype(dtype.newbyteorder("="))
