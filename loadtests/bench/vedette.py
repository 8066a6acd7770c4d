"""Vedette as a server under test: the benchmark's model as a bundle in a store of its own, served as `vedette up` does it.

Everything else is as it comes: prediction log on, tracing at its default ratio, checks of every request."""

import sys
from pathlib import Path
from typing import Final

from loadtests.bench.process import ServerUnderTest
from loadtests.bench.workload import INPUT, MODEL, Workload

NAME: Final = "vedette"


def vedette(workload: Workload, folder: Path, name: str = NAME, **settings: str) -> ServerUnderTest:
    """The server; `folder` becomes its store. settings: fields of ServingSettings, over the defaults."""
    fill_store(workload, folder)
    command = (sys.executable, "-m", "operators.cli.main", "up", "--no-train", "--store-dir", str(folder))
    ports = ("--http-port", "{http_port}", "--grpc-port", "{grpc_port}")
    environment = tuple((f"VEDETTE_{field.upper()}", value) for field, value in settings.items())
    return ServerUnderTest(name, (*command, *ports), environment=environment)


def fill_store(workload: Workload, folder: Path) -> None:
    """Put the benchmark's model into a store, as a bundle that takes tensors and answers them as they are."""
    from serving.models.build import build_bundle
    from serving.models.store import BundleStore

    bundle = build_bundle(
        folder / "draft",
        model=workload.model,
        golden_inputs={INPUT: workload.inputs[:4]},
        name=MODEL,
        version="1",
        description="Trees with seeded random splits, for benchmarks.",
    )
    BundleStore(folder).add(bundle)
