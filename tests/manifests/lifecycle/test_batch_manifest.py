"""Batch jobs in a cluster: schemas of KubeRay and Kubernetes, confined pods, a command that the command line takes."""

import shlex

import jsonschema
import kubernetes.client
import pytest
from typer.main import get_command

from operators.cli.main import app
from tests import quick_yaml as yaml
from tests.manifests.conftest import BATCH
from tests.manifests.schemas import crd_schema

RAY = {"RayCronJob": "ray.io_raycronjobs.yaml", "RayJob": "ray.io_rayjobs.yaml"}


@pytest.fixture(params=BATCH)
def job(request, rendered):
    (resource,) = yaml.safe_load_all(rendered(request.param))
    return resource


def pods_of(job):
    spec = job["spec"]
    if job["kind"] == "CronJob":
        return [spec["jobTemplate"]["spec"]["template"]["spec"]]
    cluster = spec.get("jobTemplate", spec)["rayClusterSpec"]
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def words_of(job):
    if job["kind"] == "CronJob":
        (container,) = pods_of(job)[0]["containers"]
        return container["command"] + container["args"]
    return shlex.split(job["spec"].get("jobTemplate", job["spec"])["entrypoint"])


def test_its_program_knows_every_field(job, data_dir):
    if job["kind"] == "CronJob":
        kubernetes.client.V1CronJob.model_validate(job)
        return
    schema = crd_schema(data_dir / "crds" / "crds.tar.xz", f"crds/kuberay/{RAY[job['kind']]}", "v1")
    problems = [f"{e.json_path}: {e.message[:200]}" for e in jsonschema.Draft202012Validator(schema).iter_errors(job)]
    assert problems == []


def test_the_command_is_one_that_the_command_line_takes(job):
    words = words_of(job)
    assert words[:3] == ["python", "-m", "operators.cli.main"]
    command = get_command(app).commands[words[3]]
    with command.make_context("batch", list(words[4:]), resilient_parsing=False) as context:
        assert (context.params["source"], context.params["output"]) == ("/data/events", "/data/verdicts")
        assert context.params["workers"] == (0 if job["kind"] == "CronJob" else 4)


def test_there_is_a_processor_for_each_actor(job):
    if job["kind"] == "CronJob":
        return
    cluster = job["spec"].get("jobTemplate", job["spec"])["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (group,) = cluster["workerGroupSpecs"]
    words = words_of(job)
    assert group["replicas"] * int(group["rayStartParams"]["num-cpus"]) == int(words[words.index("--workers") + 1])


def test_pods_are_confined_and_write_only_where_they_must(job):
    for pod in pods_of(job):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in (*pod["initContainers"], *pod["containers"]):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        (container,) = pod["containers"]
        mounts = {m["mountPath"]: m for m in container["volumeMounts"]}
        assert mounts["/data/events"]["readOnly"] is True
        assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
        assert {"audit", "governance"} <= {m.get("subPath") for m in container["volumeMounts"]}


def test_ray_needs_a_token_and_the_version_that_is_tested(job, rendered):
    if job["kind"] == "CronJob":
        assert job["spec"]["concurrencyPolicy"] == "Forbid"
        return
    cluster = job["spec"].get("jobTemplate", job["spec"])["rayClusterSpec"]
    serving = next(r for r in yaml.safe_load_all(rendered("base")) if r["kind"] == "RayService")["spec"]["rayClusterConfig"]
    assert cluster["rayVersion"] == serving["rayVersion"]
    assert cluster["authOptions"] == {"mode": "token"}
