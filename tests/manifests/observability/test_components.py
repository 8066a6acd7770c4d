"""The components of alerts and dashboards: made by the code, as Prometheus' operator and Grafana's sidecar take them."""

import json

import jsonschema
import pytest

from operators.observability.jobs import JOBS
from operators.observability.manifests import DASHBOARDS, files
from tests.manifests.conftest import MANIFESTS, rendered_with
from tests.manifests.schemas import crd_schema

KINDS = {"PodMonitor": "podmonitors", "ServiceMonitor": "servicemonitors", "PrometheusRule": "prometheusrules"}


@pytest.mark.parametrize("path", files())
def test_the_files_are_what_the_code_makes(path):
    stands = (MANIFESTS / "components" / path).read_text(encoding="utf-8")
    assert stands == files()[path], f"{path} is behind the code; run: .venv/bin/python -m operators.observability"


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scraped")
    return [r for r in rendered_with(folder, "monitor", "prometheus-operator") if r["kind"] in KINDS]


def test_prometheus_operator_takes_them(scraped, data_dir):
    assert {r["kind"] for r in scraped} == KINDS.keys()
    for resource in scraped:
        path = f"crds/prometheus-operator/monitoring.coreos.com_{KINDS[resource['kind']]}.yaml"
        schema = crd_schema(data_dir / "crds" / "crds.tar.xz", path, "v1")
        problems = [f"{e.json_path}: {e.message[:200]}" for e in jsonschema.Draft202012Validator(schema).iter_errors(resource)]
        assert problems == [], resource["metadata"]["name"]


def test_every_program_is_scraped_under_the_job_that_alerts_ask_for(scraped):
    ends = [end for r in scraped for end in r["spec"].get("podMetricsEndpoints", []) + r["spec"].get("endpoints", [])]
    assert {end["relabelings"][0]["replacement"] for end in ends} == set(JOBS)


def test_the_ports_that_are_scraped_are_ports_of_the_programs(scraped, rendered):
    from tests import quick_yaml as yaml

    ports = {}
    for overlay in ("overlays/production", "overlays/operator", "overlays/monitor", "overlays/sinks", "overlays/kserve"):
        for resource in yaml.safe_load_all(rendered(overlay)):
            _note_ports(resource, ports)
    for monitor in scraped:
        component = monitor.get("spec", {}).get("selector", {}).get("matchLabels", {}).get("app.kubernetes.io/component")
        if component in ports:
            named = {end["port"] for key in ("podMetricsEndpoints", "endpoints") for end in monitor["spec"].get(key, [])}
            assert named <= ports[component], f"{monitor['metadata']['name']}: {component} has {ports[component]}"
    assert {"replica", "predictor", "head", "operator", "monitor", "sinks"} <= ports.keys()


def _note_ports(resource, ports):
    """Names of ports of pods and Services, by component."""
    if isinstance(resource, list):
        for part in resource:
            _note_ports(part, ports)
    if not isinstance(resource, dict):
        return
    labels = {**resource.get("metadata", {}).get("labels", {})} if isinstance(resource.get("metadata"), dict) else {}
    spec = resource.get("spec")
    if isinstance(spec, dict):
        if resource.get("kind") == "Service":
            labels |= spec.get("selector", {})
        if resource.get("kind") == "ServingRuntime":
            labels |= spec["labels"]
        component = labels.get("app.kubernetes.io/component")
        if component:
            own = [*spec.get("ports", []), *(p for c in spec.get("containers", []) for p in c.get("ports", []))]
            ports.setdefault(component, set()).update(p["name"] for p in own if isinstance(p, dict) and "name" in p)
    for value in resource.values():
        _note_ports(value, ports)


def test_the_operators_own_labels_win(scraped):
    """`namespace` of a rollout is the service's; a scrape would rename it to exported_namespace."""
    (operator,) = [r for r in scraped if r["metadata"]["name"] == "vedette-operator"]
    assert all(end["honorLabels"] for end in operator["spec"]["endpoints"])


def test_grafana_finds_the_dashboards(tmp_path):
    maps = {r["metadata"]["name"]: r for r in rendered_with(tmp_path, "monitor", "dashboards") if r["kind"] == "ConfigMap"}
    for dashboard in DASHBOARDS:
        found = maps[dashboard.uid]
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
        (text,) = found["data"].values()
        shown = json.loads(text)
        assert shown["uid"] == dashboard.uid
        assert len(text) < 1_000_000, "a ConfigMap has at most 1 MiB"
        assert {v["name"] for v in shown["templating"]["list"]} == {"datasource", "namespace", "model"}
        ids = [p["id"] for p in shown["panels"]]
        assert len(ids) == len(set(ids))
