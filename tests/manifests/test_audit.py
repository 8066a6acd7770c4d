"""The key of the prediction log: a secret by reference, mounted where the setting looks for it, writable by nobody."""

import os
import subprocess
from pathlib import PurePosixPath

import pytest

from tests import quick_yaml as yaml
from tests.manifests.conftest import MANIFESTS, _kubectl


def one(resources, kind):
    (found,) = (r for r in resources if r["kind"] == kind)
    return found


def key_of(resources):
    (settings,) = (r["data"] for r in resources if r["kind"] == "ConfigMap" and "VEDETTE_STORE_DIR" in r["data"])
    return PurePosixPath(settings["VEDETTE_AUDIT_KEY"])


def check(spec, container, key):
    (mount,) = (m for m in container["volumeMounts"] if m["name"] == "audit-key")
    assert (mount["mountPath"], mount["readOnly"]) == (str(key.parent), True)
    assert "subPath" not in mount, "a file mounted by itself never changes in a pod that runs"
    (volume,) = (v for v in spec["volumes"] if v["name"] == "audit-key")
    assert volume["secret"]["secretName"] == "vedette-audit-key"
    assert volume["secret"]["optional"], (
        "pods of an upgrade start before somebody made the key; the chain goes on unsigned and says so"
    )
    assert volume["secret"]["defaultMode"] & 0o222 == 0


@pytest.mark.parametrize("name", ["overlays/production", "overlays/operated", "overlays/fronted"])
def test_every_replica_mounts_the_key_where_its_setting_looks(rendered, name):
    resources = list(yaml.safe_load_all(rendered(name)))
    assert not [r for r in resources if r["kind"] == "Secret"], "no key travels in a manifest"
    (group,) = one(resources, "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    spec = group["template"]["spec"]
    check(spec, spec["containers"][0], key_of(resources))


def test_the_head_which_signs_nothing_has_no_key(rendered):
    resources = list(yaml.safe_load_all(rendered("overlays/production")))
    head = one(resources, "RayService")["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
    assert "audit-key" not in {volume["name"] for volume in head["volumes"]}


def test_the_component_does_the_same_for_kserve(tmp_path):
    overlay = MANIFESTS / "overlays" / "kserve"
    component = os.path.relpath(MANIFESTS / "components" / "audit", tmp_path)
    (tmp_path / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"resources: [{os.path.relpath(overlay, tmp_path)}]\ncomponents: [{component}]\n"
    )
    done = subprocess.run(
        [_kubectl(), "kustomize", "--load-restrictor=LoadRestrictionsNone", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    resources = list(yaml.safe_load_all(done.stdout))
    spec = one(resources, "ServingRuntime")["spec"]
    check(spec, spec["containers"][0], key_of(resources))
