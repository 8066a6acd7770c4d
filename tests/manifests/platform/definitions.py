"""The definitions (CRDs) of the projects that the manifests name: of the archive in VEDETTE_DATA_DIR, and of the cache that
tests/cluster/tools/definitions.sh fills. The archive's are taken first: they are whole and of the versions that are supported."""

import os
import re
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.fakes.apiserver.real import assets

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[3]
KUBERAY = (1, 7)
"""The oldest version that the manifests are for (manifests/README.md)."""


USED = (
    *(
        "RayService",
        "RayJob",
        "RayCronJob",
        "ServingRuntime",
        "HTTPRoute",
        "GRPCRoute",
        "ScaledObject",
        "TriggerAuthentication",
    ),
    *(
        "Kafka",
        "KafkaNodePool",
        "KafkaTopic",
        "KafkaUser",
        "Certificate",
        "Issuer",
        "PodMonitor",
        "ServiceMonitor",
        "PrometheusRule",
    ),
    *("ModelService", "RolloutPolicy"),
)
"""Kinds that the manifests make. The other definitions of these projects are larger by far, and are not read."""


class _Loader(yaml.CSafeLoader):
    """YAML 1.1 in which `=` is a text: a definition of Prometheus' operator has it as a value."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: loader.construct_scalar(node))


@cache
def known() -> dict[str, Json]:
    """The definitions of these kinds that can be had, by name."""
    found: dict[str, Json] = {}
    for text in (*_of_archive(), *_of_cache(), *_own()):
        if not re.search(rf"^    kind: ({'|'.join(USED)})$", text, re.MULTILINE):
            continue
        for document in yaml.load_all(text, _Loader):
            if isinstance(document, dict) and document.get("kind") == "CustomResourceDefinition":
                found.setdefault(document["metadata"]["name"], document)
    return found


def kinds() -> set[tuple[str, str]]:
    """(group, kind) of all definitions."""
    return {(d["spec"]["group"], d["spec"]["names"]["kind"]) for d in known().values()}


def _of_archive() -> Iterator[str]:
    folder = os.environ.get("VEDETTE_DATA_DIR")
    archive = Path(folder) / "crds" / "crds.tar.xz" if folder else None
    if archive is None or not archive.is_file():
        return
    with tarfile.open(archive, "r:xz") as tar:
        for member in tar:
            if member.name.endswith(".yaml") and (file := tar.extractfile(member)) is not None:
                yield file.read().decode()


def _of_cache() -> Iterator[str]:
    beside = assets()
    for file in sorted(beside.glob("definitions/*/*.yaml")) if beside else ():
        yield file.read_text(encoding="utf-8")
    for folder in sorted(beside.glob("kuberay-*"), key=_version, reverse=True) if beside else ():
        if (
            _version(folder) >= KUBERAY
        ):  # an older one knows neither all kinds nor all fields: that is no fault of the manifests
            for file in folder.glob("ray.io_*.yaml"):
                yield file.read_text(encoding="utf-8")


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", folder.name))


def _own() -> Iterator[str]:
    for file in sorted((ROOT / "manifests" / "crds").glob("*.yaml")):
        yield file.read_text(encoding="utf-8")
