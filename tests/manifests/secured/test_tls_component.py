"""The components `tls` and `mtls` on the production overlay: settings, mounts, probes and ports agree; the settings are valid together."""

from pathlib import Path

import pytest

from serving.replica.host import tls_files
from serving.settings import ServingSettings
from tests.manifests.conftest import rendered_with


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    return rendered_with(tmp_path_factory.mktemp("tls"), "production", "tls")


def one(resources, kind, name):
    (found,) = (r for r in resources if r["kind"] == kind and r["metadata"]["name"].startswith(name))
    return found


def test_what_is_mounted_is_what_the_doors_read(secured):
    settings = one(secured, "ConfigMap", "vedette-settings")["data"]
    files = tls_files(ServingSettings(**{name.removeprefix("VEDETTE_").lower(): value for name, value in settings.items()}))
    secret = one(secured, "Certificate", "vedette")["spec"]["secretName"]
    cluster = one(secured, "RayService", "vedette")["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (volume,) = (v for v in pod["volumes"] if v["name"] == "tls")
        (mount,) = (m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "tls")
        assert volume["secret"]["secretName"] == secret
        assert files.certificate.parent == files.key.parent == Path(mount["mountPath"])


def test_probes_and_the_service_speak_tls(secured):
    (group,) = one(secured, "RayService", "vedette")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    (worker,) = group["template"]["spec"]["containers"]
    assert worker["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": "serve", "scheme": "HTTPS"}
    (service,) = (r for r in secured if r["kind"] == "Service" and r["metadata"]["name"] == "vedette")
    assert {p["appProtocol"] for p in service["spec"]["ports"]} == {"https"}


def test_with_client_certificates_probes_have_a_port_of_their_own(tmp_path):
    resources = rendered_with(tmp_path, "production", "mtls")
    settings = one(resources, "ConfigMap", "vedette-settings")["data"]
    (group,) = one(resources, "RayService", "vedette")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    (worker,) = group["template"]["spec"]["containers"]
    probe = worker["readinessProbe"]["httpGet"]
    ports = {p["name"]: p["containerPort"] for p in worker["ports"]}
    assert (probe["scheme"], str(ports[probe["port"]])) == ("HTTP", settings["VEDETTE_PROBE_PORT"])
    (service,) = (r for r in resources if r["kind"] == "Service" and r["metadata"]["name"] == "vedette")
    assert probe["port"] not in {p["targetPort"] for p in service["spec"]["ports"]}, "no Service offers it"
    (mount,) = (m for m in worker["volumeMounts"] if m["name"] == "client-ca")
    assert Path(settings["VEDETTE_TLS_CLIENT_CA"]).parent == Path(mount["mountPath"])
