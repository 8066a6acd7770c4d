"""The component `signed`: replicas require signatures, and find the trusted keys where the setting looks, as a config map by reference."""

import os
import subprocess

import pytest

from tests import quick_yaml as yaml
from tests.manifests.conftest import MANIFESTS, _kubectl


def with_component(tmp_path, overlay):
    (tmp_path / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"resources: [{os.path.relpath(MANIFESTS / 'overlays' / overlay, tmp_path)}]\n"
        f"components: [{os.path.relpath(MANIFESTS / 'components' / 'signed', tmp_path)}]\n"
    )
    command = [_kubectl(), "kustomize", "--load-restrictor=LoadRestrictionsNone", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def pods(resource):
    if resource["kind"] == "ServingRuntime":
        return [resource["spec"]]
    return [group["template"]["spec"] for group in resource["spec"]["rayClusterConfig"]["workerGroupSpecs"]]


@pytest.mark.parametrize(
    ("overlay", "kind"), [("production", "RayService"), ("local", "RayService"), ("kserve", "ServingRuntime")]
)
def test_every_replica_requires_signatures_and_has_the_keys(tmp_path, overlay, kind):
    resources = with_component(tmp_path, overlay)
    (settings,) = (r["data"] for r in resources if r["kind"] == "ConfigMap" and "VEDETTE_STORE_DIR" in r["data"])
    assert settings["VEDETTE_REQUIRE_SIGNED"] == "true"
    assert "vedette-trusted-keys" not in {r["metadata"]["name"] for r in resources}, "who is trusted is decided elsewhere"
    (serving,) = (r for r in resources if r["kind"] == kind)
    for spec in pods(serving):
        (mount,) = (m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "trusted-keys")
        assert (mount["mountPath"], mount["readOnly"]) == (settings["VEDETTE_TRUSTED_KEYS"], True)
        assert "subPath" not in mount, "a file mounted by itself never changes in a pod that runs"
        (volume,) = (v for v in spec["volumes"] if v["name"] == "trusted-keys")
        assert volume["configMap"]["name"] == "vedette-trusted-keys"
        assert not volume["configMap"].get("optional"), "a pod without keys would refuse every bundle: better it says so"
