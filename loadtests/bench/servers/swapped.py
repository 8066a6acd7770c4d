"""A replica without Ray that makes a day's swaps quickly, answers requests between them, and reports its memory.

`python -m loadtests.bench.servers.swapped STORE SWAPS RELOADS` prints one JSON line for each look: after the warm-up, and at the end.
A swap is what a rollout does to one model: a candidate with new thresholds beside stable (mirrored, then with a growing weight), its
promotion or its abort, and a threshold that is set at once. A reload takes a model away and loads it again, with a probe in a
process of its own."""

import gc
import itertools
import json
import os
import sys
import threading
import time
import urllib.request
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from loadtests.bench.benchmarks.overload import resident_mib
from loadtests.bench.workload import FEATURES, INPUT

WARM_SWAPS: Final = 60
SETTLE_S: Final = 2.0
ASKED: Final = 6
"""Requests after each swap, by as many entities."""


class Day:
    """The specifications of one day. Pure: `swap` and `reload` give the next one."""

    def __init__(self, bundles: Sequence[tuple[str, str]]) -> None:
        """bundles: model names and digests."""
        self._bundles = dict(bundles)
        self._numbers = itertools.count(1)
        self._models = {name: _model(name, _revision(digest, 0)) for name, digest in bundles}

    def spec(self, without: str | None = None) -> dict[str, Any]:
        """The specification as it stands. without: but for this model."""
        return {"models": [model for name, model in self._models.items() if name != without]}

    def swap(self, index: int) -> str:
        """The next change; the model it was of."""
        name = list(self._models)[index % len(self._models)]
        model, step = self._models[name], index // len(self._models) % 6
        if step == 0:
            revision = _revision(self._bundles[name], next(self._numbers))
            model = {**model, "variants": [{"name": "candidate", "version": "1", "revision": revision, "mirror": 50}]}
        elif step < 4:
            model = {**model, "variants": [{**model["variants"][0], "weight": (0, 5, 25, 50)[step], "mirror": 0}]}
        elif step == 4:
            is_promoted = index // len(self._models) // 6 % 2 == 0
            model = _model(name, model["variants"][0]["revision"] if is_promoted else model["revision"])
        else:
            model = _model(name, _revision(self._bundles[name], next(self._numbers)))
        self._models[name] = model
        return name


def _model(name: str, revision: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "version": "1", "revision": revision, "variants": []}


def _revision(bundle: str, number: int) -> dict[str, Any]:
    return {"bundle": bundle, "thresholds": {"strict": 0.5 + number * 1e-6}}


def live_through(store: Path, swaps: int, reloads: int) -> Iterator[dict[str, float]]:
    """The day; what the process holds at each look."""
    from serving.app import compose
    from serving.models.onnx import OnnxModel
    from serving.models.store import BundleStore
    from serving.replica.host import ReplicaHost
    from serving.settings import ServingSettings

    sessions: weakref.WeakSet[Any] = weakref.WeakSet()
    made = OnnxModel.__init__

    def remembered(self: Any, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        sessions.add(self)

    OnnxModel.__init__ = remembered  # type: ignore[method-assign]  # only here: who is still alive at the end
    day = Day([(e.name, e.digest) for e in BundleStore(store).entries()])
    host = ReplicaHost(ServingSettings(store_dir=store, http_port=0, grpc_port=0, audit_segments=2), compose)
    port = host.start(day.spec()).http
    every = max(1, swaps // reloads) if reloads else swaps + WARM_SWAPS + 1
    for index in range(WARM_SWAPS + swaps):
        name = day.swap(index)
        if index % every == 0:
            host.reconfigure(day.spec(without=name))
        host.reconfigure(day.spec())
        for entity in range(ASKED):
            _ask(port, name, f"{index}-{entity}")
        if index + 1 in (WARM_SWAPS, WARM_SWAPS + swaps):
            yield _look(port, sessions)
    host.stop()


def _ask(port: int, model: str, entity: str) -> bytes:
    tensor = {"name": INPUT, "datatype": "FP32", "shape": [1, FEATURES], "data": [0.5] * FEATURES}
    body = json.dumps({"inputs": [tensor], "parameters": {"entity": entity}}).encode()
    return _get(urllib.request.Request(f"http://127.0.0.1:{port}/v2/models/{model}/infer", body))


def _look(port: int, sessions: Any) -> dict[str, float]:
    page = _get(urllib.request.Request(f"http://127.0.0.1:{port}/metrics"))
    gc.collect()
    time.sleep(SETTLE_S)
    return {
        "memory_mib": resident_mib(os.getpid()),
        "sessions": len(sessions),
        "metrics_bytes": len(page),
        "threads": threading.active_count(),
        "objects": len(gc.get_objects()),
    }


def _get(request: urllib.request.Request) -> bytes:
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # nosec B310  # our own server
        content: bytes = answer.read()
        return content


def main(argv: Sequence[str]) -> int:
    """The program."""
    store, swaps, reloads = argv
    for look in live_through(Path(store), int(swaps), int(reloads)):
        sys.stdout.write(json.dumps(look) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
