"""examples/secured: who scrapes and asks guarded doors has what they want to see, and networks let through what that needs."""

import pytest

from serving.access.followed_files import read_policy
from serving.access.verbs import Verb
from tests.manifests.conftest import MANIFESTS
from tests.manifests.platform.pods import all_templates
from tests.manifests.platform.policies import Peer, allows
from tests.manifests.platform.rendering import composed, whole

API_SERVER = Peer({}, {"kubernetes.io/metadata.name": "default"})
REPLICA = Peer({"app.kubernetes.io/name": "vedette", "app.kubernetes.io/component": "replica"})


def one(resources, kind, name):
    (found,) = (r for r in resources if r["kind"] == kind and r["metadata"]["name"] == name)
    return found


def scraped(resources):
    found = one(resources, "PodMonitor", "vedette-replicas")["spec"]
    (template,) = [
        t for _, t in all_templates(resources) if found["selector"]["matchLabels"].items() <= t["metadata"]["labels"].items()
    ]
    ports = {p["name"]: p["containerPort"] for c in _that_stay(template) for p in c.get("ports", ())}
    return found["podMetricsEndpoints"][0], ports


def _that_stay(template):
    """Containers that run beside each other: of those of the start only sidecars."""
    spec = template["spec"]
    return [*spec["containers"], *(c for c in spec.get("initContainers", ()) if c.get("restartPolicy") == "Always")]


def test_prometheus_believes_the_certificate_and_shows_its_own():
    resources = whole("examples/secured")
    certificate, (door, ports) = one(resources, "Certificate", "vedette")["spec"], scraped(resources)
    assert (door["scheme"], ports[door["port"]]) == ("https", 8080)
    assert door["tlsConfig"]["ca"]["secret"] == {"name": certificate["secretName"], "key": "ca.crt"}
    assert door["tlsConfig"]["serverName"] in certificate["dnsNames"]
    assert door["tlsConfig"]["cert"]["secret"]["name"] == door["tlsConfig"]["keySecret"]["name"]


def test_prometheus_shows_a_key_whose_role_may_read_metrics_only():
    resources = whole("examples/secured")
    door, _ = scraped(resources)
    assert door["authorization"]["type"] == "Bearer"
    of_kserve = one(resources, "PodMonitor", "vedette-predictors")["spec"]["podMetricsEndpoints"][0]
    assert of_kserve["authorization"] == door["authorization"]
    head = (MANIFESTS / "components/prometheus-access/kustomization.yaml").read_text(encoding="utf-8")
    said = f"secret generic {door['authorization']['credentials']['name']} --from-literal={door['authorization']['credentials']['key']}="
    assert said in head, "how the Secret is made"
    policy = read_policy(MANIFESTS / "components/access/access.yaml")
    assert "--role scraper" in head
    assert {verb for grant in policy.roles["scraper"] for verb in grant.verbs} == {Verb.METRICS}


@pytest.mark.parametrize(("overlay", "is_open"), [("overlays/production", False), ("examples/secured", True)])
def test_replicas_reach_who_has_the_keys_of_tokens_only_where_tokens_count(overlay, is_open):
    policies = [r for r in whole(overlay) if r["kind"] == "NetworkPolicy"]
    assert allows(policies, REPLICA, API_SERVER, 6443) is is_open
    assert not allows(policies, REPLICA, API_SERVER, 22)


def test_access_alone_closes_no_network(tmp_path):
    made = composed(tmp_path, ["overlays/local"], ["access"])
    assert not [r for r in made if r["kind"] == "NetworkPolicy"], "a policy for one thing would close everything else"


def test_what_scrapes_through_envoy_asks_a_port_that_envoy_has(tmp_path):
    door, ports = scraped(composed(tmp_path, ["overlays/fronted"], ["prometheus-operator", "prometheus-envoy"]))
    assert ports[door["port"]] == 8082
    assert "scheme" not in door


def test_the_operator_believes_the_authority_of_replicas(tmp_path):
    made = composed(tmp_path, ["overlays/operator"], ["operator-tls"])
    spec = one(made, "Deployment", "vedette-operator")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    (setting,) = (e["value"] for e in container["env"] if e["name"] == "VEDETTE_OPERATOR_POD_CA")
    (mount,) = (m for m in container["volumeMounts"] if m["name"] == "ca")
    assert setting == f"{mount['mountPath']}/ca.crt"
