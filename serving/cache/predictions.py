"""The prediction cache: outputs of a model for the same tensors are used again, for the same tenant, for a while. Asks only the port Cache.

Worth it for models that take longer than the look-up, and off unless asked for. Of several requests at once for the same key one runs
the model and the others wait for it (single-flight); if it gives up, the next of them runs. What the model refuses is kept too: a
deterministic refusal is an answer. Failures of ours and runs that were stopped are never kept.

A cache that is down or slow is a miss: its breaker then leaves it alone, and requests are answered as without it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.models.errors import RunError
from serving.ports import Cache, CacheDown, Clock
from serving.resilience.breaker import Guard
from serving.telemetry.counts import KnownModels

Outputs = dict[str, NDArray[Any]]
LookupOutcome = Literal["hit", "miss", "joined", "negative", "skipped"]
_REFUSED: Final = b"-"
_NEWEST_RUN_WEIGHT: Final = 0.1
"""Of the newest run in what a run of a model is taken to cost."""


class Predictions:
    """Belongs to the listeners' loop. min_run_s: shorter runs are not looked up. lookup_timeout_s: how long a look-up may take."""

    def __init__(self, cache: Cache, guard: Guard, clock: Clock, *, min_run_s: float, lookup_timeout_s: float) -> None:
        self._cache, self._guard, self._clock = cache, guard, clock
        self._min_run_s, self._lookup_timeout_s = min_run_s, lookup_timeout_s
        self._in_flight: dict[bytes, asyncio.Future[bytes | None]] = {}
        self._row_s: dict[str, float] = {}
        self.requests: Counter[tuple[str, LookupOutcome]] = Counter()
        """By model and outcome. The count of a model that is loaded never goes back."""
        self._known = KnownModels()
        self.saved_s: dict[str, float] = {}
        """By model: what runs that were not made would have taken, less the look-ups in their place."""

    def keep(self, models: Collection[str]) -> None:
        """Forget what is counted of models that are long gone. models: those that are loaded."""
        known = self._known.keep(models)
        self.requests = Counter({key: n for key, n in self.requests.items() if key[0] in known})
        self.saved_s = {model: s for model, s in self.saved_s.items() if model in known}
        self._row_s = {model: s for model, s in self._row_s.items() if model in known}

    def is_worthwhile(self, run_s: float) -> bool:
        """Whether a run that takes this long is looked up first."""
        return run_s >= self._min_run_s

    async def outputs(
        self,
        model: str,
        key: bytes,
        rows: int,
        left_s: float,
        run: Callable[[], Awaitable[Outputs]],
        *,
        names: Collection[str] = (),
    ) -> tuple[Outputs, LookupOutcome]:
        """The model's outputs for this key, from the cache or by `run`. names: outputs that a cached value must have.

        Raises RunError (also a kept one), TimeoutError after left_s, and whatever else `run` raises."""
        began_s = self._clock.monotonic_s()
        value = await self._join(key, left_s)
        if value is not None:
            return self._from_cache(model, rows, value, "joined", began_s)
        flight = self._in_flight[key] = asyncio.get_running_loop().create_future()
        try:
            value = await self._look_up(key, names)
            if value is not None:
                return self._from_cache(model, rows, value, "hit", began_s)
            made = await self._run(model, rows, run)
            value = made if isinstance(made, bytes) else _encoded(made)
            self._cache.put(key, value)
            self.requests[model, "miss"] += 1
            return _decoded(value) if isinstance(made, bytes) else made, "miss"
        finally:
            del self._in_flight[key]
            flight.set_result(value)

    def count_skipped(self, model: str) -> None:
        """Count a run that was not looked up: it is quicker than the look-up."""
        self.requests[model, "skipped"] += 1

    async def close(self) -> None:
        """Close the cache."""
        await self._cache.close()

    async def _join(self, key: bytes, left_s: float) -> bytes | None:
        """What somebody else is just finding out; None if nobody is (any more)."""
        until_s = self._clock.monotonic_s() + left_s
        while (flight := self._in_flight.get(key)) is not None:
            left_s = until_s - self._clock.monotonic_s()
            if left_s <= 0:
                raise TimeoutError
            await asyncio.wait([flight], timeout=left_s)
            if flight.done() and (value := flight.result()) is not None:
                return value
        return None

    async def _look_up(self, key: bytes, names: Collection[str]) -> bytes | None:
        started_s = self._clock.monotonic_s()
        ticket = self._guard.ask(started_s)
        if ticket is None:
            return None
        try:
            value = await self._cache.get(key, self._lookup_timeout_s)
        except CacheDown:
            now_s = self._clock.monotonic_s()
            self._guard.failed(ticket, now_s - started_s, now_s)
            return None
        except BaseException:
            self._guard.unused(ticket)
            raise
        now_s = self._clock.monotonic_s()
        self._guard.succeeded(ticket, now_s - started_s, now_s)
        return value if value is None or _is_usable(value, names) else None

    async def _run(self, model: str, rows: int, run: Callable[[], Awaitable[Outputs]]) -> Outputs | bytes:
        """The outputs, or a refusal as it is kept."""
        started_s = self._clock.monotonic_s()
        try:
            made = await run()
        except RunError as problem:
            return _REFUSED + str(problem).encode()
        row_s = (self._clock.monotonic_s() - started_s) / max(rows, 1)
        before_s = self._row_s.get(model, row_s)
        self._row_s[model] = before_s + _NEWEST_RUN_WEIGHT * (row_s - before_s)
        return made

    def _from_cache(
        self, model: str, rows: int, value: bytes, outcome: LookupOutcome, began_s: float
    ) -> tuple[Outputs, LookupOutcome]:
        saved_s = self._row_s.get(model, 0.0) * rows - (self._clock.monotonic_s() - began_s)
        self.saved_s[model] = self.saved_s.get(model, 0.0) + max(saved_s, 0.0)
        self.requests[model, "negative" if value.startswith(_REFUSED) else outcome] += 1
        return _decoded(value), outcome


class _Array(msgspec.Struct, array_like=True):
    """One output. dtype: as numpy writes it; text has none and is in `texts`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes
    texts: list[str] | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Array]).decode


def _encoded(outputs: Mapping[str, NDArray[Any]]) -> bytes:
    arrays = []
    for name, values in outputs.items():
        if values.dtype.kind in "OUS":
            arrays.append(_Array(name, "", values.shape, b"", [str(v) for v in values.ravel().tolist()]))
        else:
            arrays.append(_Array(name, values.dtype.str, values.shape, np.ascontiguousarray(values).tobytes()))
    return _encode(arrays)


def _decoded(value: bytes) -> Outputs:
    """Raises RunError for a kept refusal."""
    if value.startswith(_REFUSED):
        raise RunError(value[len(_REFUSED) :].decode())
    return {array.name: _array(array) for array in _decode(value)}


def _is_usable(value: bytes, names: Collection[str]) -> bool:
    """Whether it can be read and has these outputs: a cache that others write to may hold anything."""
    try:
        outputs = _decoded(value)
    except RunError:
        return True
    except (msgspec.DecodeError, ValueError, TypeError):
        return False
    return outputs.keys() >= set(names)


def _array(array: _Array) -> NDArray[Any]:
    if array.texts is None:
        return np.frombuffer(array.data, np.dtype(array.dtype)).reshape(array.shape)
    texts = np.empty(len(array.texts), dtype=object)
    texts[:] = array.texts
    return texts.reshape(array.shape)
