"""The charts are what kustomize renders, with values in known places: the real Helm reads, renders and installs them."""

import json
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from operators.api.chart import NAMESPACE, OVERLAYS, chart
from tests.fakes.apiserver import Handle
from tests.manifests.conftest import MANIFESTS

CHARTS = list(OVERLAYS)
DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
def template(helm: str, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    def render(name: str, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        (tmp_path / "values.json").write_text(json.dumps(values or {}))
        command = [
            helm,
            "template",
            "release",
            str(MANIFESTS / "chart" / name),
            "-n",
            NAMESPACE,
            "-f",
            str(tmp_path / "values.json"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [r for r in yaml.safe_load_all(done.stdout) if r]

    return render


def _sorted(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(resources, key=lambda r: (r["kind"], r["metadata"]["name"]))


@pytest.mark.parametrize("name", CHARTS)
def test_the_committed_chart_is_the_one_that_is_made(name: str, rendered: Callable[[str], str]):
    made = chart(name, rendered(OVERLAYS[name]), version("vedette"))
    folder = MANIFESTS / "chart" / name
    committed = {str(p.relative_to(folder)): p.read_text(encoding="utf-8") for p in folder.rglob("*") if p.is_file()}
    assert committed == made, "make chart"


@pytest.mark.parametrize("name", CHARTS)
def test_with_its_defaults_it_renders_what_kustomize_renders(
    name: str, template: Callable[..., Any], rendered: Callable[[str], str]
):
    assert _sorted(template(name)) == _sorted(list(yaml.safe_load_all(rendered(OVERLAYS[name]))))


@pytest.mark.parametrize("name", CHARTS)
def test_helm_lints_it(name: str, helm: str):
    done = subprocess.run(
        [helm, "lint", "--strict", str(MANIFESTS / "chart" / name)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout


ALL = {
    "registry": "registry.example/soc/",
    "imagePullPolicy": "Always",
    "imagePullSecrets": [{"name": "pull"}],
    "commonLabels": {"team": "detection"},
    "commonAnnotations": {"note": "1.0"},
}
POD = {
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "soc", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "priorityClassName": "high",
    "labels": {"ring": "1"},
    "annotations": {"sidecar": "false"},
    "resources": {"requests": {"cpu": "3"}},
}


def test_every_value_arrives_in_the_operator(template: Callable[..., Any]):
    images = {"vedette-operator": {"digest": DIGEST}}
    made = template("operator", {**ALL, "images": images, "pods": {"operator": {**POD, "replicas": 3}}})
    (deployment,) = (r for r in made if r["kind"] == "Deployment")
    _has_pod_values(deployment["spec"]["template"], f"registry.example/soc/vedette-operator@{DIGEST}")
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["selector"]["matchLabels"].keys() == {"app.kubernetes.io/name", "app.kubernetes.io/component"}
    assert all(r["metadata"]["labels"]["team"] == "detection" for r in made)
    assert all(r["metadata"]["annotations"]["note"] == "1.0" for r in made)


def test_every_value_arrives_in_the_ray_cluster(template: Callable[..., Any]):
    images = {"vedette-serving": {"tag": "0.2.0"}}
    made = template(
        "serving", {**ALL, "images": images, "pods": {"head": POD, "replica": {**POD, "replicas": 4, "maxReplicas": 16}}}
    )
    (service,) = (r for r in made if r["kind"] == "RayService")
    cluster = service["spec"]["rayClusterConfig"]
    (group,) = cluster["workerGroupSpecs"]
    for pod in (cluster["headGroupSpec"]["template"], group["template"]):
        _has_pod_values(pod, "registry.example/soc/vedette-serving:0.2.0")
        assert pod["spec"]["initContainers"][0]["image"] == f"registry.example/soc/vedette-bundles:{version('vedette')}"
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (4, 1, 16)
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    assert config["applications"][0]["deployments"][0]["num_replicas"] == 4


def _has_pod_values(pod: dict[str, Any], image: str) -> None:
    spec = pod["spec"]
    first = spec["containers"][0]
    places = ("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName")
    assert {key: spec[key] for key in places} == {key: POD[key] for key in places}
    assert spec["imagePullSecrets"] == ALL["imagePullSecrets"]
    assert pod["metadata"]["labels"]["ring"] == "1"
    assert pod["metadata"]["annotations"] == {"sidecar": "false"}
    assert first["resources"]["requests"]["cpu"] == "3"
    assert first["image"] == image
    assert {c["imagePullPolicy"] for c in (*spec["containers"], *spec.get("initContainers", ()))} == {"Always"}


def test_other_settings_have_another_name_so_that_pods_are_replaced(
    template: Callable[..., Any], rendered: Callable[[str], str]
):
    def settings(resources: list[dict[str, Any]]) -> dict[str, Any]:
        (found,) = (r for r in resources if r["kind"] == "ConfigMap")
        return found

    before = settings(list(yaml.safe_load_all(rendered(OVERLAYS["serving"]))))["metadata"]["name"]
    made = template("serving", {"settings": {"VEDETTE_LOG_LEVEL": "debug"}})
    config = settings(made)
    assert config["data"]["VEDETTE_LOG_LEVEL"] == "debug"
    assert config["metadata"]["name"] != before
    assert before not in json.dumps(made)
    assert json.dumps(made).count(config["metadata"]["name"]) == 3, "the ConfigMap, the head, the replicas"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        pytest.param("operator", {"pods": {"operater": {}}}, id="a pod that there is not"),
        pytest.param("operator", {"pods": {"operator": {"nodeselector": {}}}}, id="a field in other letters"),
        pytest.param("operator", {"pods": {"operator": {"replicas": "two"}}}, id="a number in words"),
        pytest.param("serving", {"images": {"vedette-serving": {"digest": "latest"}}}, id="a digest that is none"),
        pytest.param("serving", {"settings": {"VEDETTE_HTTP_PORT": 8080}}, id="a setting that is no text"),
    ],
)
def test_values_that_mean_nothing_are_refused(name: str, values: dict[str, Any], helm: str, tmp_path: Path):
    schema = json.loads((MANIFESTS / "chart" / name / "values.schema.json").read_text(encoding="utf-8"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(values)
    (tmp_path / "values.json").write_text(json.dumps(values))
    command = [helm, "template", "release", str(MANIFESTS / "chart" / name), "-f", str(tmp_path / "values.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr


def test_text_that_helm_would_run_is_refused():
    with pytest.raises(ValueError, match="escape it"):
        chart("operator", "kind: ConfigMap\nmetadata: {name: a}\ndata: {message: '{{ $labels.pod }}'}\n", "1")


def test_an_api_server_takes_the_operator(helm: str, api_server: Handle, namespace: str, tmp_path: Path):
    """Every field, by the server's own schema, and without what is left when a dry run ends."""
    chart_folder = str(MANIFESTS / "chart" / "operator")
    rendered = subprocess.run(
        [helm, "template", "r", chart_folder, "-n", namespace], capture_output=True, text=True, check=True
    ).stdout
    (tmp_path / "operator.yaml").write_text(rendered)
    config = str(api_server.kubeconfig())
    command = [
        "kubectl",
        "--kubeconfig",
        config,
        "apply",
        "--server-side",
        "--dry-run=server",
        "-f",
        str(tmp_path / "operator.yaml"),
    ]
    beside = Path(__import__("sys").executable).with_name("kubectl")
    done = subprocess.run(
        [str(beside) if beside.exists() else "kubectl", *command[1:]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("serverside-applied (server dry run)") == len([r for r in yaml.safe_load_all(rendered) if r])
