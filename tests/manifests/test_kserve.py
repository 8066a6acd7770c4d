"""The ServingRuntime: KServe takes it, the operator's InferenceService fits it, its pods are confined."""

import jsonschema
import pytest

from operators.api.types import KserveBackend
from operators.backends.inference_service import fields_of
from operators.ports import ServiceRef
from operators.rollout.spec import Revision
from operators.rollout.status import Target, TargetVariant
from serving.settings import ServingSettings
from tests import quick_yaml as yaml
from tests.manifests.conftest import KSERVE
from tests.manifests.schemas import crd_schema

PLACE = KserveBackend(storage_uri="s3://bundles/{digest}")
STABLE, CANDIDATE = (Revision(version=v, bundle=f"sha256:{v * 64}") for v in "12")


@pytest.fixture
def parts(rendered):
    return {r["kind"]: r for r in yaml.safe_load_all(rendered(KSERVE))}


def inference_service():
    target = Target(stable=STABLE, variants=(TargetVariant(name="candidate", revision=CANDIDATE, weight=5),))
    fields = fields_of(ServiceRef("soc", "flows", "flows"), PLACE, target, 2)
    head = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService"}
    return {**head, **fields, "metadata": {"name": "flows", **fields["metadata"]}}


def problems(data_dir, member, version, resource):
    schema = crd_schema(data_dir / "crds" / "crds.tar.xz", f"crds/kserve/{member}", version)
    return [f"{e.json_path}: {e.message[:200]}" for e in jsonschema.Draft202012Validator(schema).iter_errors(resource)]


def test_kserve_accepts_the_runtime(parts, data_dir):
    assert problems(data_dir, "serving.kserve.io_servingruntimes.yaml", "v1alpha1", parts["ServingRuntime"]) == []


def test_kserve_accepts_what_the_operator_makes(data_dir):
    assert problems(data_dir, "serving.kserve.io_inferenceservices.yaml", "v1beta1", inference_service()) == []


def test_the_strict_schema_sees_a_misspelt_field(parts, data_dir):
    wrong = {**parts["ServingRuntime"], "spec": {**parts["ServingRuntime"]["spec"], "protocolVersion": ["v2"]}}
    assert problems(data_dir, "serving.kserve.io_servingruntimes.yaml", "v1alpha1", wrong)


def test_the_inference_service_names_this_runtime_and_what_it_takes(parts):
    runtime = parts["ServingRuntime"]
    for predictor in (inference_service()["spec"]["predictor"], inference_service()["spec"]["canary"][0]["predictor"]):
        model = predictor["model"]
        assert model["runtime"] == runtime["metadata"]["name"]
        assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
        assert model["modelFormat"]["name"] in {f["name"] for f in runtime["spec"]["supportedModelFormats"]}


def test_its_pods_have_no_variables_of_services():
    """A ServingRuntime has no field for it. Every Service of a namespace named vedette-* would bring some that look like settings."""
    spec = inference_service()["spec"]
    assert [p["enableServiceLinks"] for p in (spec["predictor"], spec["canary"][0]["predictor"])] == [False, False]


def test_doors_settings_and_probe_agree(parts):
    (container,) = parts["ServingRuntime"]["spec"]["containers"]
    settings = parts["ConfigMap"]["data"]
    assert container["envFrom"][0]["configMapRef"]["name"] == parts["ConfigMap"]["metadata"]["name"]
    assert [p["containerPort"] for p in container["ports"]] == [int(settings["VEDETTE_HTTP_PORT"])] == [PLACE.metrics_port]
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": int(settings["VEDETTE_HTTP_PORT"])}
    known = {f"VEDETTE_{name.upper()}" for name in ServingSettings.model_fields} | {"HOME"}
    told = inference_service()["spec"]["predictor"]["model"]["env"]
    assert {e["name"] for e in (*container["env"], *told)} <= known


def test_pods_are_confined_and_write_on_volumes(parts):
    spec = parts["ServingRuntime"]["spec"]
    (container,) = spec["containers"]
    confined = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsNonRoot": True}
    assert container["securityContext"].items() >= {**confined, "capabilities": {"drop": ["ALL"]}}.items()
    mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
    assert {parts["ConfigMap"]["data"]["VEDETTE_STORE_DIR"], "/tmp"} == mounts.keys()
    assert set(mounts.values()) == {v["name"] for v in spec["volumes"]}
    assert container["image"].partition(":")[2] not in {"", "latest"}
