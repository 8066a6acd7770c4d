"""Who reaches whom, by the rendered NetworkPolicies. The ids are the rules. Whether a network enforces them is a cluster's to show."""

import pytest

from tests.manifests.platform.pods import all_templates, containers
from tests.manifests.platform.policies import Peer, allows
from tests.manifests.platform.rendering import composed, whole


def ours(component, **more):
    return Peer({"app.kubernetes.io/name": "vedette", "app.kubernetes.io/component": component, **more})


def elsewhere(name, component="", namespace="elsewhere", **labels):
    found = {"app.kubernetes.io/name": name} | ({"app.kubernetes.io/component": component} if component else {})
    return Peer(found, {"kubernetes.io/metadata.name": namespace, **labels})


HEAD, REPLICA, STREAM, SINKS, OPERATOR = (ours(c) for c in ("head", "replica", "stream", "sinks", "operator"))
KUBERAY = elsewhere("kuberay", "kuberay-operator", "ray-system")
PROMETHEUS = elsewhere("prometheus", namespace="monitoring")
GATEWAY = Peer({"app": "gateway"}, {"kubernetes.io/metadata.name": "gateways", "vedette.dev/clients": "true"})
NEIGHBOUR = Peer({"app": "soc-tool"})
STRANGER = elsewhere("anything")
DNS = Peer({"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"})
REDIS, KAFKA, COLLECTOR = elsewhere("redis"), elsewhere("kafka"), elsewhere("opentelemetry-collector")
OUR_OPERATOR = elsewhere("vedette", "operator", "vedette-system")


@pytest.fixture(scope="module", params=["overlays/production", "overlays/fronted", "overlays/staging"])
def policies(request):
    found = [r for r in whole(request.param) if r["kind"] == "NetworkPolicy"]
    assert found
    return found


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        pytest.param(REPLICA, HEAD, 6379, id="a worker joins its head"),
        pytest.param(HEAD, REPLICA, 6380, id="the head reaches a worker's raylet"),
        pytest.param(REPLICA, REPLICA, 6381, id="workers exchange objects"),
        pytest.param(HEAD, REPLICA, 10500, id="Serve's controller reaches a replica's process"),
        pytest.param(KUBERAY, HEAD, 8265, id="KubeRay's operator asks and tells the dashboard"),
        pytest.param(NEIGHBOUR, REPLICA, 8080, id="a client of the namespace, HTTP"),
        pytest.param(NEIGHBOUR, REPLICA, 8443, id="a client of the namespace, TLS"),
        pytest.param(GATEWAY, REPLICA, 8081, id="a gateway's namespace that says so, gRPC"),
        pytest.param(PROMETHEUS, REPLICA, 8080, id="Prometheus scrapes a replica"),
        pytest.param(PROMETHEUS, HEAD, 8090, id="Prometheus scrapes Ray"),
        pytest.param(PROMETHEUS, STREAM, 8080, id="Prometheus scrapes a worker of streams"),
        pytest.param(OUR_OPERATOR, REPLICA, 8080, id="our operator counts evidence"),
        pytest.param(REPLICA, REDIS, 6379, id="a replica reads features"),
        pytest.param(HEAD, REDIS, 6379, id="the head keeps its state"),
        pytest.param(STREAM, KAFKA, 9093, id="a worker of streams reads Kafka"),
        pytest.param(REPLICA, COLLECTOR, 4318, id="a replica sends spans"),
        pytest.param(SINKS, STRANGER, 6514, id="sinks reach a SIEM"),
    ],
)
def test_what_is_needed_is_open(policies, source, target, port):
    assert allows(policies, source, target, port)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        *(
            pytest.param(who, HEAD, port, id=f"{name} does not reach the head's {port}")
            for name, who in (
                ("a stranger", STRANGER),
                ("a neighbour", NEIGHBOUR),
                ("Prometheus", PROMETHEUS),
                ("a gateway", GATEWAY),
            )
            for port in (6379, 8265, 10001, 52365)
        ),
        pytest.param(REPLICA, HEAD, 10001, id="not even a worker is a Ray client"),
        pytest.param(REPLICA, HEAD, 8265, id="a replica does not command the dashboard"),
        pytest.param(KUBERAY, HEAD, 6379, id="KubeRay's operator does not reach the GCS"),
        pytest.param(STRANGER, REPLICA, 8080, id="another namespace is no client"),
        pytest.param(NEIGHBOUR, REPLICA, 52365, id="the agent is nobody's"),
        pytest.param(NEIGHBOUR, REPLICA, 10500, id="a neighbour reaches no process of Ray"),
        pytest.param(STREAM, REPLICA, 6380, id="a worker of streams is not of the Ray cluster"),
        pytest.param(REPLICA, STRANGER, 443, id="a replica opens no connection elsewhere"),
        pytest.param(STREAM, STRANGER, 443, id="a worker of streams opens no connection elsewhere"),
        pytest.param(REPLICA, elsewhere("kafka"), 22, id="Kafka's pods, but no other port of them"),
        pytest.param(ours("unheard-of"), REDIS, 6379, id="what has no policy of its own reaches nothing"),
        pytest.param(NEIGHBOUR, ours("unheard-of"), 80, id="what has no policy of its own is not reached"),
    ],
)
def test_everything_else_is_closed(policies, source, target, port):
    assert not allows(policies, source, target, port)


MONITOR, LABELS, CONSOLE, PREDICTOR = (ours(c) for c in ("monitor", "labels", "console", "predictor"))
HERE_OPERATOR = ours("operator")
API_SERVER = Peer({}, {"kubernetes.io/metadata.name": "kube-system"})


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """The programs beside what serves, in one namespace with closed networks."""
    bases = ["overlays/kserve", *(f"base/{b}" for b in ("monitor", "labels", "console", "sinks", "operator"))]
    made = composed(tmp_path_factory.mktemp("others"), bases, ["network-policy", "otel-collector"])
    return [r for r in made if r["kind"] == "NetworkPolicy"]


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        pytest.param(PROMETHEUS, MONITOR, 9105, id="Prometheus scrapes the monitor"),
        pytest.param(PROMETHEUS, SINKS, 9106, id="Prometheus scrapes the sinks"),
        pytest.param(PROMETHEUS, HERE_OPERATOR, 8090, id="Prometheus scrapes the operator"),
        pytest.param(PROMETHEUS, PREDICTOR, 8080, id="Prometheus scrapes a pod of KServe"),
        pytest.param(API_SERVER, HERE_OPERATOR, 9443, id="the API server asks the webhook"),
        pytest.param(HERE_OPERATOR, API_SERVER, 6443, id="the operator asks the API server"),
        pytest.param(GATEWAY, CONSOLE, 8090, id="a gateway reaches the console"),
        pytest.param(CONSOLE, API_SERVER, 6443, id="the console asks the API server"),
        pytest.param(NEIGHBOUR, LABELS, 8095, id="a client of the namespace labels"),
        pytest.param(GATEWAY, LABELS, 8095, id="a namespace of clients labels"),
        pytest.param(OUR_OPERATOR, LABELS, 8095, id="our operator asks for labels"),
        pytest.param(GATEWAY, PREDICTOR, 8080, id="a gateway reaches a pod of KServe"),
        pytest.param(OUR_OPERATOR, PREDICTOR, 8080, id="our operator counts evidence of KServe"),
        pytest.param(PREDICTOR, REDIS, 6379, id="a pod of KServe reads features"),
        pytest.param(PREDICTOR, STRANGER, 443, id="KServe fetches the bundle"),
        pytest.param(SINKS, COLLECTOR, 4318, id="the sinks send their spans"),
    ],
)
def test_the_other_programs_are_open_to_whom_they_must(others, source, target, port):
    assert allows(others, source, target, port)


@pytest.mark.parametrize("port", [8080, 8090, 8095, 9105, 9106, 22])
@pytest.mark.parametrize("target", [MONITOR, LABELS, CONSOLE, SINKS, HERE_OPERATOR, PREDICTOR])
def test_a_stranger_reaches_none_of_the_other_programs(others, target, port):
    assert not allows(others, STRANGER, target, port)


def test_the_pods_of_kserve_have_the_labels_that_policies_name_and_no_service_of_ray_workers_takes_them():
    ((_, template),) = all_templates(whole("overlays/kserve"))
    assert PREDICTOR.labels.items() <= template["metadata"]["labels"].items()
    (service,) = [r for r in whole("overlays/production") if r["kind"] == "Service"]
    assert not service["spec"]["selector"].items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize(
    "component", ["head", "replica", "predictor", "stream", "sinks", "operator", "labels", "monitor", "batch"]
)
def test_every_pod_resolves_names(policies, component):
    assert allows(policies, ours(component), DNS, 53, "UDP")
    assert not allows(policies, ours(component), STRANGER, 53, "UDP")


@pytest.mark.parametrize("name", ["overlays/production", "overlays/fronted", "overlays/staging"])
def test_every_pod_is_under_some_policy_both_ways(name):
    resources = whole(name)
    found = [r for r in resources if r["kind"] == "NetworkPolicy"]
    for where, template in all_templates(resources):
        labels = template["metadata"]["labels"]
        if labels["app.kubernetes.io/name"] == "vedette":
            assert not allows(found, Peer(labels), STRANGER, 9), where
        assert not allows(found, STRANGER, Peer(labels), 9), where


def test_the_ports_of_ray_are_those_that_the_policies_name():
    (service,) = [r for r in whole("base") if r["kind"] == "RayService"]
    cluster = service["spec"]["rayClusterConfig"]
    (policy,) = [r for r in whole("overlays/production") if r["metadata"]["name"] == "vedette-ray"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        given = group["rayStartParams"]
        names = ("node-manager-port", "object-manager-port")
        drawn = [int(given[n]) for n in names] + [int(given["min-worker-port"]), int(given["max-worker-port"])]
        for port in drawn:
            assert any(p["port"] <= port <= p["endPort"] for p in policy["spec"]["ingress"][0]["ports"]), port
        taken = [p["containerPort"] for c in containers(group["template"]) for p in c.get("ports", ())]
        assert not {*drawn[:2]} & {*taken}


def test_what_a_site_adds_adds_up(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: managed-redis}\nspec:\n"
        "  podSelector: {matchLabels: {app.kubernetes.io/name: vedette}}\n  policyTypes: [Egress]\n"
        "  egress: [{to: [{namespaceSelector: {matchLabels: {team: data}}}], ports: [{protocol: TCP, port: 6380}]}]\n"
    )
    resources = composed(tmp_path, ["overlays/production", str(own)])
    found = [r for r in resources if r["kind"] == "NetworkPolicy"]
    managed = Peer({}, {"kubernetes.io/metadata.name": "data", "team": "data"})
    assert allows(found, REPLICA, managed, 6380)
    assert not allows(found, REPLICA, managed, 6379)
