"""The rendered serveConfigV2 on a real Ray node, by the calls that KubeRay makes: it deploys, gets ready, answers, and takes an
edit of `user_config` in place. What this cannot show: the pods around it, which need a cluster."""

import shutil
import tempfile
import urllib.error
from pathlib import Path

import pytest

from operators.labs.simple_model import build_simple
from serving.models.store import BundleStore
from tests import quick_yaml as yaml
from tests.manifests.ray_node import ray_node, wait_for
from tests.ports import free_ports

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("a Ray node as KubeRay has it")]

APPLICATIONS = "/api/serve/applications/"
TENSORS = [{"name": n, "datatype": "INT32", "shape": [1, 16], "data": list(range(16))} for n in ("INPUT0", "INPUT1")]


@pytest.fixture
def folder():
    made = Path(tempfile.mkdtemp(prefix="vm", dir="/tmp"))  # short: Ray keeps sockets there
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_deploys_answers_and_is_changed_in_place(rendered, folder):
    documents = list(yaml.safe_load_all(rendered("overlays/local")))
    (service,) = (d for d in documents if d["kind"] == "RayService")
    (settings,) = (d["data"] for d in documents if d["kind"] == "ConfigMap")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    http, grpc = free_ports(2)
    here = {"VEDETTE_HOST": "127.0.0.1", "VEDETTE_HTTP_PORT": str(http), "VEDETTE_GRPC_PORT": str(grpc)}
    digest = BundleStore(folder / "store").add(build_simple(folder / "draft"))

    environment = settings | here | {"VEDETTE_STORE_DIR": str(folder / "store"), "PYTHONPATH": str(Path(__file__).parents[2])}
    with ray_node(folder, environment) as node:
        _deploy(node, config)
        wait_for(lambda: node.call("GET", "/v2/health/ready", port=http), "readiness")
        answer = node.call("POST", "/v2/models/simple/infer", {"inputs": TENSORS}, port=http)
        assert answer["outputs"][0]["data"] == [2 * i for i in range(16)]
        wait_for(lambda: _status(node) == ("RUNNING", "Disabled"), "the application")
        before = _replicas(node)

        wanted = {"models": [{"name": "simple", "version": "1", "revision": {"bundle": digest}}]}
        config["applications"][0]["deployments"][0]["user_config"] = wanted
        _deploy(node, config)
        wait_for(lambda: _user_config(node) == wanted and _status(node)[0] == "RUNNING", "the edit")
        assert _replicas(node) == before
        assert node.call("POST", "/v2/models/simple/infer", {"inputs": TENSORS}, port=http)["outputs"] == answer["outputs"]


def _deploy(node, config):
    """As KubeRay does: once more if no answer comes. Ray takes a configuration that it has for no change."""

    def is_taken():
        try:
            node.call("PUT", APPLICATIONS, config)
        except urllib.error.HTTPError as refused:
            raise AssertionError(refused.read().decode()) from refused
        return True

    wait_for(is_taken, "an answer to the configuration")


def _application(node):
    return node.call("GET", APPLICATIONS)["applications"]["vedette"]


def _status(node):
    return _application(node)["status"], node.call("GET", APPLICATIONS)["proxy_location"]


def _user_config(node):
    return _application(node)["deployments"]["Replica"]["deployment_config"].get("user_config")


def _replicas(node):
    return sorted((r["actor_id"], r["pid"]) for r in _application(node)["deployments"]["Replica"]["replicas"])
