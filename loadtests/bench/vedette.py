"""Vedette as a server under test: the benchmark's model as a bundle in a store of its own, served as `vedette up` does it.

It makes whole decisions: the bundle has a score, two operating points and a calibration, so a request is answered with score, verdict and
probability, while the other servers answer the score only. `vedette` has no prediction log, because the others have none. Its other
settings are the defaults: tracing at its default ratio, checks of every request. `vedette-shipped` has all settings as they ship, with the
log: what users have who change no setting."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadtests.bench.process import ServerUnderTest
from loadtests.bench.workload import INPUT, MODEL, OUTPUT, Workload

NAME: Final = "vedette"
SHIPPED: Final = "vedette-shipped"


def vedette(workload: Workload, folder: Path, name: str = NAME, **settings: str) -> ServerUnderTest:
    """The server; `folder` becomes its store. settings: of ServingSettings, in place of the defaults and, unless the name is SHIPPED, of
    `audit: off`."""
    fill_store(workload, folder)
    return serving(folder, name, **settings)


def serving(folder: Path, name: str = NAME, **settings: str) -> ServerUnderTest:
    """The server of a store that was filled before."""
    command = (sys.executable, "-m", "operators.cli.main", "up", "--no-train", "--store-dir", str(folder))
    ports = ("--http-port", "{http_port}", "--grpc-port", "{grpc_port}")
    ours = {} if name == SHIPPED else {"audit": "off"}
    environment = tuple((f"VEDETTE_{field.upper()}", value) for field, value in {**ours, **settings}.items())
    return ServerUnderTest(name, (*command, *ports), environment=environment)


def hosted(folder: Path, name: str, **settings: str) -> ServerUnderTest:
    """The replica of a store that was filled before, alone in its process; without a prediction log."""
    ports = {"http_port": "{http_port}", "grpc_port": "{grpc_port}", "store_dir": str(folder), "audit": "off"}
    environment = tuple((f"VEDETTE_{field.upper()}", value) for field, value in {**ports, **settings}.items())
    return ServerUnderTest(name, (sys.executable, "-m", "loadtests.bench.servers.hosted"), environment=environment)


def watched(server: ServerUnderTest) -> ServerUnderTest:
    """The same server, with the watch of `servers.watched` in its replica."""
    program, _, _, _, *arguments = server.command
    return replace(server, command=(program, "-m", "loadtests.bench.servers.watched", *arguments))


def fill_store(workload: Workload, folder: Path, *, golden_rows: int = 4) -> None:
    """Put the benchmark's model into a store, as a bundle that takes tensors and decides."""
    from serving.models.build import build_bundle
    from serving.models.store import BundleStore

    bundle = build_bundle(
        folder / "draft",
        model=workload.model,
        golden_inputs={INPUT: workload.inputs[:golden_rows]},
        name=MODEL,
        version="1",
        description="Trees with seeded random splits, for benchmarks.",
        **decision(workload.answers),
    )
    BundleStore(folder).add(bundle)


def decision(answers: NDArray[np.float32]) -> dict[str, Any]:
    """The fields of the manifest that turn a score into a decision. answers: shape (n,), scores; the thresholds are their quantiles.

    The calibration has as many steps as one from a few thousand rows has."""
    steps = np.linspace(float(answers.min()), float(answers.max()), 100)
    low = np.linspace(0.0, 0.9, len(steps))
    investigate, strict, loose = (float(q) for q in np.quantile(answers, [0.8, 0.95, 0.9]))
    return {
        "score": {"output": OUTPUT, "column": None},
        "operating_points": {
            "strict": {"threshold": strict, "investigate": investigate, "requirement": "alerts on 5 of 100"},
            "loose": {"threshold": loose, "investigate": investigate, "requirement": "alerts on 10 of 100"},
        },
        "default_operating_point": "strict",
        "calibration": {"scores": steps.tolist(), "low": low.tolist(), "high": (low + 0.1).tolist(), "rows": 2000},
    }
