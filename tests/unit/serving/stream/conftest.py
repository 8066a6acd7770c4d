"""Worlds of a stream worker, each with a bundle that is served."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.serving.scoring.variants import threat
from tests.unit.serving.stream.stream_world import StreamWorld


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("bundles")
    other = {"request_fields": [{"name": "level", "datatype": "FP32"}, {"name": "port", "datatype": "INT64"}]}
    return {
        "threat": threat(folder / "1", "1"),
        "fragile": threat(folder / "2", "1", fails_above=100),
        "wider": threat(folder / "3", "2", **other),
        "timed": threat(folder / "5", "1", event_time_field="at"),
        "same": threat(folder / "4", "2", 0.5),
    }


@pytest.fixture
def make(tmp_path: Path, bundles: dict[str, Any]) -> Iterator[Any]:
    made: list[StreamWorld] = []

    def new(bundle: str | None = "threat", **how: Any) -> StreamWorld:
        made.append(StreamWorld(tmp_path / str(len(made)), **how))
        if bundle is not None:
            made[-1].serve(bundles[bundle])
        return made[-1]

    yield new
    for world in made:
        world.close()
