"""What a platform team can compose: every overlay, base and example as it is, and components on what they are for."""

import os
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests import quick_yaml as yaml
from tests.manifests.conftest import MANIFESTS, _kubectl
from tests.waiting import HANG_S

Json = dict[str, Any]
_OF_AN_OVERLAY: Final = {
    f"base/{n}" for n in ("serving", "stream", "batch", "batch-once", "batch-ray", "monitor", "labels", "sinks")
}
WHOLE: Final = tuple(
    name
    for folder in ("base", "overlays", "examples", "cluster", "crds", "argocd")
    for p in sorted((MANIFESTS / folder).rglob("kustomization.yaml"))
    if (name := str(p.parent.relative_to(MANIFESTS))) not in _OF_AN_OVERLAY
)
"""Every kustomization that is applied as it is; bases that an overlay has unchanged are left out."""
COMPOSED: Final = {
    "serving, all that is optional": (
        ["overlays/operated"],
        [
            "gcs-fault-tolerance",
            "log-archive",
            "bundles-from-registry",
            "signed",
            "gateway-api",
            "keda-requests",
            "otel-collector",
            "zones",
        ],
    ),
    "streams, the monitor and the sinks, scraped": (
        ["base/stream", "base/monitor", "base/sinks"],
        ["prometheus-operator", "dashboards"],
    ),
    "serving, upgraded in steps": (["base/serving"], ["upgrade-incremental"]),
    "serving behind Envoy, limited": (["overlays/fronted"], ["shared-log", "gcs-fault-tolerance"]),
    "streams, scaled by the lag that workers say": (["base/stream"], ["stream-hpa", "priority", "network-policy", "zones"]),
    "the operator, limited": (
        ["overlays/operator"],
        ["operator-labels", "operator-access", "operator-tls", "operator-traces", "network-policy", "zones"],
    ),
    "serving behind Envoy, scraped": (["overlays/fronted"], ["prometheus-operator", "prometheus-envoy"]),
    "KServe's runtime, limited and scraped": (
        ["overlays/kserve"],
        ["access", "network-policy", "access-network", "prometheus-operator"],
    ),
    "batch jobs, with priorities": (["base/batch", "base/batch-ray"], ["priority", "network-policy"]),
    "streams, sinks and batch jobs, traced": (
        ["base/stream", "base/sinks", "base/batch", "base/batch-once", "base/batch-ray"],
        ["otel-collector", "network-policy"],
    ),
}
"""Compositions beside the overlays, by what they are: resources, components."""


@cache
def _rendered(words: tuple[str, ...]) -> str:
    done = subprocess.run([_kubectl(), "kustomize", *words], capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "kustomize warns"
    return done.stdout


def whole(name: str) -> list[Json]:
    """One kustomization of the manifests."""
    return _resources(_rendered((str(MANIFESTS / name),)))


def composed(folder: Path, resources: Iterable[str], components: Iterable[str] = (), **more: Any) -> list[Json]:
    """An overlay of a platform team. folder: where its kustomization is written. more: further fields of it."""
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [_relative(MANIFESTS / r, folder) for r in resources],
        "components": [_relative(MANIFESTS / "components" / c, folder) for c in components],
        **more,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    return _resources(_rendered(("--load-restrictor=LoadRestrictionsNone", str(folder))))


def _resources(text: str) -> list[Json]:
    return [d for d in yaml.safe_load_all(text) if d]


def _relative(target: Path, folder: Path) -> str:
    return os.path.relpath(target, folder)
