"""The overlay with Envoy: nobody comes past it, and it is confined and configured as the pods' own containers are."""

import pytest

from tests import quick_yaml as yaml
from tests.manifests.conftest import FRONTED


@pytest.fixture
def fronted(rendered):
    return list(yaml.safe_load_all(rendered(FRONTED)))


def one(resources, kind, name):
    (found,) = (r for r in resources if r["kind"] == kind and r["metadata"]["name"].startswith(name))
    return found


def pod(resources):
    cluster = one(resources, "RayService", "vedette")["spec"]["rayClusterConfig"]
    (group,) = cluster["workerGroupSpecs"]
    return group["template"]["spec"]


def envoy_of(resources):
    (found,) = (c for c in pod(resources)["initContainers"] if c["name"] == "envoy")
    return found


def configuration(resources):
    return yaml.safe_load(one(resources, "ConfigMap", "vedette-envoy")["data"]["envoy.yaml"])


def test_the_doors_listen_where_only_the_pod_comes(fronted):
    assert one(fronted, "ConfigMap", "vedette-settings")["data"]["VEDETTE_HOST"] == "127.0.0.1"
    (service,) = (r for r in fronted if r["kind"] == "Service")
    assert [(p["port"], p["targetPort"]) for p in service["spec"]["ports"]] == [(443, "https")]


def test_what_envoy_forwards_to_is_where_the_doors_listen(fronted):
    settings = one(fronted, "ConfigMap", "vedette-settings")["data"]
    found = {
        c["name"]: c["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
        for c in configuration(fronted)["static_resources"]["clusters"]
    }
    assert found["http"] == {"address": "127.0.0.1", "port_value": int(settings["VEDETTE_HTTP_PORT"])}
    assert found["grpc"] == {"address": "127.0.0.1", "port_value": int(settings["VEDETTE_GRPC_PORT"])}


def test_the_ports_of_listeners_pod_and_probe_agree(fronted):
    listens = {
        item["name"]: item["address"]["socket_address"]["port_value"]
        for item in configuration(fronted)["static_resources"]["listeners"]
    }
    ports = {p["name"]: p["containerPort"] for p in envoy_of(fronted)["ports"]}
    assert (listens["front"], listens["platform"]) == (ports["https"], ports["platform"])
    (worker,) = pod(fronted)["containers"]
    assert worker["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": ports["platform"]}


def test_the_sidecar_is_confined_and_outlives_the_replica(fronted):
    envoy = envoy_of(fronted)
    assert envoy["restartPolicy"] == "Always"
    assert envoy["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert envoy["resources"]["limits"]["memory"]
    assert envoy["image"].rpartition(":")[2] == "distroless-v1.40.0"


def test_every_file_that_is_named_is_mounted(fronted):
    mounts = {m["mountPath"]: m["name"] for m in envoy_of(fronted)["volumeMounts"]}
    volumes = {v["name"]: v for v in pod(fronted)["volumes"]}
    assert set(mounts.values()) <= volumes.keys()
    generated = one(fronted, "ConfigMap", "vedette-envoy")["metadata"]["name"]
    assert volumes[mounts["/etc/envoy"]]["configMap"]["name"] == generated
    assert volumes[mounts["/etc/envoy-tokens"]]["configMap"]["name"] == "vedette-tokens"
    assert volumes[mounts["/etc/envoy-tls"]]["secret"]["secretName"] == "vedette-tls"
