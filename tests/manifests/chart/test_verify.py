"""`skaffold verify`: its Job is one that a restricted namespace takes, and its command one that the image has."""

import kubernetes.client
import typer.main

from operators.cli.main import app
from tests import quick_yaml as yaml
from tests.manifests.conftest import ROOT


def _verify():
    (case,) = yaml.safe_load((ROOT / "skaffold.yaml").read_text(encoding="utf-8"))["verify"]
    return case, yaml.safe_load(
        (ROOT / case["executionMode"]["kubernetesCluster"]["jobManifestPath"]).read_text(encoding="utf-8")
    )


def test_the_job_has_the_container_that_skaffold_fills_in():
    """Skaffold takes the container of this name from the Job, and adds a label to the Job's: both must be there."""
    case, job = _verify()
    kubernetes.client.V1Job.model_validate(job)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["name"] == case["container"]["name"]
    assert case["container"]["image"].partition(":")[0] == container["image"]
    assert job["metadata"]["labels"]


def test_no_policy_of_closed_networks_selects_it(rendered):
    """Its pod is a client: what closes our own pods would keep it from every door."""
    _, job = _verify()
    labels = job["spec"]["template"]["metadata"]["labels"]
    policies = [r for r in yaml.safe_load_all(rendered("overlays/production")) if r["kind"] == "NetworkPolicy"]
    assert policies
    for policy in policies:
        wanted = policy["spec"]["podSelector"]
        pairs = {**wanted.get("matchLabels", {}), **{e["key"]: e["values"][0] for e in wanted.get("matchExpressions", ())}}
        assert not pairs.items() <= labels.items(), policy["metadata"]["name"]


def test_the_command_line_takes_its_arguments(rendered):
    case, _ = _verify()
    *python, verb = case["container"]["command"]
    assert python == ["python", "-m", "operators.cli.main"]
    options = typer.main.get_command(app).commands[verb].make_context(verb, list(case["container"]["args"])).params
    (service,) = (r for r in yaml.safe_load_all(rendered("overlays/production")) if r["kind"] == "Service")
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    name = service["metadata"]["name"]
    assert (options["http"], options["grpc"]) == (f"http://{name}:{ports['http']}", f"{name}:{ports['grpc']}")


def test_build_arguments_are_arguments_of_the_dockerfiles():
    """A misspelt one is only warned of by the builder."""
    config = yaml.safe_load((ROOT / "skaffold.yaml").read_text(encoding="utf-8"))
    builds = [config["build"], *(p["build"] for p in config["profiles"] if "build" in p)]
    for artifact in (a for build in builds for a in build["artifacts"]):
        text = (ROOT / artifact["docker"]["dockerfile"]).read_text(encoding="utf-8")
        assert [name for name in artifact["docker"]["buildArgs"] if f"ARG {name}" not in text] == []
