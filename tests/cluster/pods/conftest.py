"""Clusters whose pods run: a small one for the pods themselves and the operator, one with everything for the long tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster.kuberay import no_kuberay
from tests.cluster.pods.cluster import Cluster, why_not

if TYPE_CHECKING:
    from operators.cli.demo.world import World
    from tests.cluster.pods.stage import Stage


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes, nothing installed; one for the whole run. Work in a namespace of your own."""
    if why := why_not():
        pytest.skip(why)
    with Cluster(nodes=("node-1", "node-2")) as made:
        yield made


@pytest.fixture(scope="session")
def detectors(tmp_path_factory: pytest.TempPathFactory) -> "tuple[Path, World]":
    """A build context with a `.vedette` of the demonstration's detectors, good and bad."""
    from operators.cli.demo.world import build

    context = tmp_path_factory.mktemp("context")
    (context / ".vedette").mkdir()
    return context, build(context / ".vedette", lambda line: None, slow_ms=120)


@pytest.fixture(scope="session")
def stage(detectors: "tuple[Path, World]") -> "Iterator[Stage]":
    """KubeRay's operator, ours, and overlays/operated, whose replicas serve the stable detector."""
    from tests.cluster.pods.stage import staged

    if why := why_not() or no_kuberay():
        pytest.skip(why)
    context, world = detectors
    with staged(context, world.stable.digest, world.stable.manifest.version, print) as made:
        yield made
