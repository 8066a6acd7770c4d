"""The manifests against the schemas of the programs that read them: KubeRay, Ray Serve, Skaffold."""

import copy
import json
import re

import jsonschema
import kubernetes.client
import pydantic
import pytest

from serving.spec import ServingSpec
from tests import quick_yaml as yaml
from tests.manifests.conftest import ROOT
from tests.manifests.schemas import crd_schema


def _one(resources, kind):
    (found,) = (r for r in resources if r["kind"] == kind)
    return found


@pytest.fixture(scope="module")
def ray_service_validator(data_dir):
    schema = crd_schema(data_dir / "crds" / "crds.tar.xz", "crds/kuberay/ray.io_rayservices.yaml", "v1")
    return jsonschema.Draft202012Validator(schema)


def test_kuberay_accepts_the_ray_service(resources, ray_service_validator):
    problems = [f"{e.json_path}: {e.message[:200]}" for e in ray_service_validator.iter_errors(_one(resources, "RayService"))]
    assert problems == []


def test_the_strict_schema_sees_a_misspelt_field(resources, ray_service_validator):
    service = copy.deepcopy(_one(resources, "RayService"))
    service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    assert [e for e in ray_service_validator.iter_errors(service) if "readynessProbe" in e.message]


# The client's models come from Kubernetes' own OpenAPI description and refuse what it does not have.
KINDS = {
    "ConfigMap": kubernetes.client.V1ConfigMap,
    "NetworkPolicy": kubernetes.client.V1NetworkPolicy,
    "PodDisruptionBudget": kubernetes.client.V1PodDisruptionBudget,
    "Service": kubernetes.client.V1Service,
}


def test_kubernetes_knows_every_field_of_the_rest(resources):
    for resource in resources:
        if resource["kind"] != "RayService":
            KINDS[resource["kind"]].model_validate(resource)


def test_a_misspelt_field_of_a_service_is_seen(resources):
    service = copy.deepcopy(_one(resources, "Service"))
    service["spec"]["ports"][1]["targetport"] = 1
    with pytest.raises(pydantic.ValidationError, match="targetport"):
        KINDS["Service"].model_validate(service)


def test_ray_serve_accepts_the_serve_config(resources):
    from ray.serve.schema import ServeDeploySchema

    config = ServeDeploySchema.model_validate(yaml.safe_load(_one(resources, "RayService")["spec"]["serveConfigV2"]))
    assert str(config.proxy_location.value) == "Disabled"
    assert [a.import_path for a in config.applications] == ["serving.app:build"]


@pytest.mark.parametrize(
    "profile",
    [
        None,
        "local",
        "production",
        "fronted",
        "kserve",
        "operator",
        "operator-webhook",
        "operator-namespaced",
        "monitor",
        "labels",
        "console",
        "sinks",
        "stream",
        "staging",
        "batch",
        "batch-ray",
        "batch-once",
    ],
)
def test_skaffold_accepts_its_file(profile, data_dir):
    schema = json.loads((data_dir / "skaffold" / "v4beta14.json").read_text(encoding="utf-8"))
    config = yaml.safe_load((ROOT / "skaffold.yaml").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema).validate(config)
    merged = config | next((p for p in config["profiles"] if p["name"] == profile), {})
    for path in merged["manifests"]["kustomize"]["paths"]:
        assert (ROOT / path / "kustomization.yaml").is_file()


def test_skaffold_builds_every_image_that_the_manifests_name(rendered):
    config = yaml.safe_load((ROOT / "skaffold.yaml").read_text(encoding="utf-8"))
    for profile in config["profiles"]:
        artifacts = (profile.get("build") or config["build"])["artifacts"]
        assert all((ROOT / a["docker"]["dockerfile"]).is_file() for a in artifacts)
        (path,) = profile["manifests"]["kustomize"]["paths"]
        text = rendered(path.removeprefix("manifests/"))
        named = set(re.findall(r"^\s*(?:- )?image: ([a-z-]+):", text, re.MULTILINE))
        assert named <= {a["image"] for a in artifacts}
        assert named, path


def test_each_overlay_has_a_skaffold_profile():
    config = yaml.safe_load((ROOT / "skaffold.yaml").read_text(encoding="utf-8"))
    overlays = {p.parent.name for p in (ROOT / "manifests" / "overlays").glob("*/kustomization.yaml")}
    assert {p["name"] for p in config["profiles"]} == overlays


def test_the_readme_shows_a_user_config_that_the_replicas_take():
    text = (ROOT / "manifests" / "README.md").read_text(encoding="utf-8")
    (example,) = (block.split("```")[0] for block in text.split("```yaml\n")[1:])
    (deployment,) = yaml.safe_load(example)["deployments"]
    shown = yaml.safe_load(json.dumps(deployment["user_config"]).replace("sha256:...", f"sha256:{'0' * 64}"))
    assert ServingSpec.from_config(shown).models[0].name == "flows"
