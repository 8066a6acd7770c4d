"""Every resource that the manifests make, as a real API server judges it: each field is known, each value allowed, each pod confined."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests import quick_yaml as yaml
from tests.fakes.apiserver.real import RealApiServer, assets, unavailable
from tests.manifests.conftest import ROOT
from tests.manifests.platform import definitions
from tests.manifests.platform.pods import Json, all_templates, as_pod
from tests.manifests.platform.rendering import COMPOSED, WHOLE, composed, whole
from tests.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("what the API server admits")]
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
APPLY = {"Content-Type": "application/apply-patch+yaml"}
HOME = "vedette"
BUILT_IN = {"", "apps", "batch", "autoscaling", "policy", "networking.k8s.io", "scheduling.k8s.io", "rbac.authorization.k8s.io"}
BUILT_IN |= {"admissionregistration.k8s.io", "coordination.k8s.io", "apiextensions.k8s.io"}


@dataclass
class Cluster:
    """A real API server with every definition that can be had, the namespaces and the classes of priority."""

    http: httpx.Client
    kubeconfig: Path
    _places: dict[tuple[str, str], tuple[str, bool]] = field(default_factory=dict)

    def apply(self, resource: Json, *, dry: bool = True) -> httpx.Response:
        """As `kubectl apply --server-side --dry-run=server --validate=strict`."""
        params = {"fieldManager": "test", "force": "true", "fieldValidation": "Strict"} | ({"dryRun": "All"} if dry else {})
        return self.http.patch(self._where(resource), params=params, headers=APPLY, content=yaml.safe_dump(resource))

    def _where(self, resource: Json) -> str:
        version, kind, name = resource["apiVersion"], resource["kind"], resource["metadata"]["name"]
        at = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self._places:
            for found in self.http.get(at).json()["resources"]:
                if "/" not in found["name"]:
                    self._places[version, found["kind"]] = (found["name"], found["namespaced"])
        plural, is_namespaced = self._places[version, kind]
        home = resource["metadata"].get("namespace", HOME)
        return f"{at}/{f'namespaces/{home}/' if is_namespaced else ''}{plural}/{name}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if not assets():
        pytest.skip(unavailable() or "definitions are not installed into a cluster that was given")
    with RealApiServer() as server, server.http() as http:
        made = Cluster(http, server.kubeconfig())
        for definition in definitions.known().values():
            answer = made.apply(definition, dry=False)
            assert answer.is_success, answer.text[:500]
        until(lambda: _all_established(http), "the definitions are served")
        for resource in whole("cluster"):
            assert made.apply(resource, dry=False).is_success
        for home in ("vedette", "vedette-system"):
            for account in ("default", "vedette-operator"):
                http.post(f"/api/v1/namespaces/{home}/serviceaccounts", json={"metadata": {"name": account}}).raise_for_status()
        yield made


def _all_established(http: httpx.Client) -> bool:
    items = http.get(DEFINITIONS).json()["items"]
    return all(
        any(c["type"] == "Established" and c["status"] == "True" for c in d["status"].get("conditions") or ()) for d in items
    )


def _unknown(resources: list[Json]) -> set[str]:
    """Kinds of other projects whose definition is not here."""
    had = definitions.kinds()
    asked = {(r["apiVersion"].partition("/")[0] if "/" in r["apiVersion"] else "", r["kind"]) for r in resources}
    return {f"{kind}.{group}" for group, kind in asked if group not in BUILT_IN and (group, kind) not in had}


def _refused(cluster: Cluster, resources: list[Json]) -> list[str]:
    missing = _unknown(resources)
    answers = [(r, cluster.apply(r)) for r in resources if f"{r['kind']}.{r['apiVersion'].partition('/')[0]}" not in missing]
    bad = [f"{r['kind']}/{r['metadata']['name']}: {a.text[:600]}" for r, a in answers if not a.is_success]
    warned = [f"{r['kind']}/{r['metadata']['name']}: {a.headers['warning']}" for r, a in answers if "warning" in a.headers]
    if not bad + warned:
        _skip_without(missing)
    return bad + warned


def _skip_without(missing: set[str]) -> None:
    if missing:
        needed = ", ".join(sorted(missing))
        pytest.skip(f"no definition of {needed}: sh tests/cluster/tools/definitions.sh, or VEDETTE_DATA_DIR")


@pytest.mark.parametrize("name", [*WHOLE, *COMPOSED])
def test_the_api_server_takes_every_resource_and_every_pod_and_warns_of_none(cluster, name, tmp_path):
    """The pods too that KubeRay makes of its templates, which the restricted standard judges when they come and not before."""
    resources = composed(tmp_path, *COMPOSED[name]) if name in COMPOSED else whole(name)
    pods = [_admitted(cluster.http, as_pod(*one)) for one in all_templates(resources)]
    assert [p for p in pods if p] == []
    assert _refused(cluster, resources) == []


def test_it_sees_a_misspelt_field(cluster):
    (service,) = [r for r in whole("base") if r["kind"] == "Service"]
    service["spec"]["ports"][0]["targetport"] = 1
    assert "targetport" in cluster.apply(service).text


def test_a_pod_that_is_not_confined_is_refused(cluster):
    (pod,) = [as_pod(*one) for one in all_templates(whole("base/monitor"))]
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    assert "allowPrivilegeEscalation" in _admitted(cluster.http, pod)


def test_the_page_of_what_serves_from_top_to_bottom(cluster, tmp_path):
    """docs/how-to/install-serving.md, typed at a shell: installed, applied again without a change, upgraded, removed; what stays, stays."""
    _skip_without(_unknown(whole("base")))
    page = Page(cluster.kubeconfig, tmp_path)
    at = f"/apis/ray.io/v1/namespaces/{HOME}/rayservices/vedette"
    page.follow("Install")
    before = cluster.http.get(at).json()["metadata"]
    page.follow("Apply again")
    assert cluster.http.get(at).json()["metadata"]["generation"] == before["generation"]

    kustomization = page.folder / "manifests/base/serving/kustomization.yaml"
    text = kustomization.read_text(encoding="utf-8")
    kustomization.write_text(text.replace('newTag: "0.1.0"', 'newTag: "0.2.0"'), encoding="utf-8")
    page.follow("Upgrade")
    after = cluster.http.get(at).json()
    assert (after["metadata"]["uid"], after["metadata"]["generation"]) == (before["uid"], before["generation"] + 1)
    assert "vedette-serving:0.2.0" in str(after)

    page.follow("Remove")
    assert cluster.http.get(at).status_code == 404
    for kind in ("services", "configmaps"):
        left = cluster.http.get(f"/api/v1/namespaces/{HOME}/{kind}").json()["items"]
        assert [i["metadata"]["name"] for i in left if i["metadata"]["name"] == "vedette"] == []
    secrets = cluster.http.get(f"/api/v1/namespaces/{HOME}/secrets").json()["items"]
    assert {s["metadata"]["name"] for s in secrets} >= {"vedette-secrets", "vedette-audit-key"}
    assert not page.left


class Page:
    """The commands of the page by heading, typed in a copy of the checkout whose kubectl knows the cluster."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "manifests", folder / "manifests")
        (folder / "build/serving").mkdir(parents=True)
        programs = Path(sys.executable).parent
        path = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        self._environment = os.environ | path | {"KUBECONFIG": str(kubeconfig)}
        text = (ROOT / "docs/how-to/install-serving.md").read_text(encoding="utf-8")
        parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
        shells = {
            h: re.findall(r"^```sh\n(.*?)^```$", t, re.MULTILINE | re.DOTALL)
            for h, t in zip(parts[1::2], parts[2::2], strict=True)
        }
        self._commands = {heading: "".join(found) for heading, found in shells.items() if found}

    def follow(self, heading: str) -> None:
        commands = self._commands.pop(heading)
        done = subprocess.run(
            ["sh", "-e"], input=commands, cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == 0, f"{heading}: {done.stdout}\n{done.stderr}"

    @property
    def left(self) -> set[str]:
        """Headings with commands that nobody followed."""
        return set(self._commands)


def _admitted(http: httpx.Client, pod: Json) -> str:
    """What the API server has against a pod; "" if nothing."""
    home = "vedette-system" if pod["spec"].get("serviceAccountName") else HOME
    pod["spec"].setdefault(
        "serviceAccountName", "default"
    )  # a plugin of the API server that is off in the tests; volumes of tokens ask for it
    answer = http.post(f"/api/v1/namespaces/{home}/pods", json=pod, params={"dryRun": "All", "fieldValidation": "Strict"})
    return answer.headers.get("warning", "") if answer.is_success else f"{pod['metadata']['name']}: {answer.text[:600]}"
