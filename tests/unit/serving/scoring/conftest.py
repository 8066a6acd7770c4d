"""Detectors that differ on purpose, and a service over a store that holds them."""

import pytest

from tests.unit.serving.scoring.variants import World, threat


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "stable": threat(folder / "1", "1", 1.0),
        "candidate": threat(folder / "2", "2", 0.5),
        "third": threat(folder / "3", "3", -1.0),
        "failing": threat(folder / "4", "4", 1.0, fails_above=1.0),
        "other": threat(folder / "5", "5", request_fields=[{"name": "level", "datatype": "FP64"}]),
    }


@pytest.fixture
def world(tmp_path, bundles):
    world = World(tmp_path)
    for bundle in bundles.values():
        world.store.add(bundle)
    return world
