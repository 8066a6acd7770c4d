"""The pure parts of the kubelet that the cluster tests run pods with."""

import struct
from typing import Any

import pytest

from tests.cluster.kubelet.environment import (
    ConfigError,
    command_line,
    expand,
    of_pod,
    of_resource,
    quantity,
    service_links,
    variables,
)
from tests.cluster.kubelet.images import ROOT, from_dockerfile, instructions, named
from tests.cluster.kubelet.networking import names, services
from tests.cluster.kubelet.probes import Threshold, port_of, threshold
from tests.cluster.kubelet.sandbox import user_of
from tests.cluster.kubelet.status import ContainerState, backoff_s, phase, pod_status, restarted, restarts, waiting

POD: dict[str, Any] = {
    "metadata": {"name": "a", "namespace": "soc", "uid": "u", "labels": {"app": "x"}},
    "spec": {"nodeName": "node-1", "containers": [{"name": "c", "image": "i"}]},
    "status": {"podIP": "198.18.1.10"},
}


@pytest.mark.parametrize(("text", "expected"), [
    pytest.param("$(A)/x", "1/x", id="a known name is replaced"),
    pytest.param("$(B)", "$(B)", id="an unknown one stays"),
    pytest.param("$$(A)", "$(A)", id="two dollars are one, and nothing is replaced"),
    pytest.param("$A ${A}", "$A ${A}", id="a shell's own forms are the shell's"),
])  # fmt: skip
def test_expansion(text, expected):
    assert expand(text, {"A": "1"}) == expected


@pytest.mark.parametrize(("text", "value"), [("500m", 0.5), ("2Gi", 2 * 2**30), ("1.5", 1.5), ("1e3", 1000), ("3M", 3e6)])
def test_quantities(text, value):
    assert float(quantity(text)) == value


def test_what_is_no_quantity_is_refused():
    with pytest.raises(ValueError, match="is no quantity"):
        quantity("lots")


def test_fields_of_the_pod():
    assert of_pod(POD, "metadata.labels['app']") == "x"
    assert of_pod(POD, "status.podIP") == "198.18.1.10"
    assert of_pod(POD, "spec.nodeName") == "node-1"


@pytest.mark.parametrize(("selector", "expected"), [
    pytest.param({"resource": "limits.cpu"}, "2", id="rounded up to whole processors"),
    pytest.param({"resource": "limits.cpu", "divisor": "1m"}, "1500", id="by its divisor"),
    pytest.param({"resource": "requests.memory", "divisor": "1Mi"}, "64", id="a request"),
    pytest.param({"resource": "limits.memory", "divisor": "1Gi"}, "16", id="without a limit, what the node has"),
])  # fmt: skip
def test_fields_of_resources(selector, expected):
    container = {"resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "64Mi"}}}
    assert of_resource(container, selector, {"memory": "16Gi", "cpu": "8"}) == expected


def _held(kind: str, name: str, optional: bool) -> dict[str, str]:
    return {("configMap", "settings"): {"K": "v"}, ("secret", "s"): {"P": "w"}}.get((kind, name), {})


def test_variables_override_in_order_and_see_those_before():
    container = {
        "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "X_"}, {"secretRef": {"name": "s"}}],
        "env": [
            {"name": "P", "value": "own"},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "URL", "value": "http://$(IP):80"},
            {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "no", "optional": True}}},
        ],
    }
    told = variables(container, POD, {"FLOWS_PORT": "tcp://1"}, _held, {})
    assert told == {"FLOWS_PORT": "tcp://1", "X_K": "v", "P": "own", "IP": "198.18.1.10", "URL": "http://198.18.1.10:80"}


def test_a_missing_key_is_named():
    container = {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "no"}}}]}
    with pytest.raises(ConfigError, match="couldn't find key no in secret s"):
        variables(container, POD, {}, _held, {})


def test_service_links_shadow_names_that_settings_might_have():
    ports = [{"name": "http", "port": 8080}, {"name": "grpc", "port": 8081}]
    links = service_links([
        {"metadata": {"name": "vedette"}, "spec": {"clusterIP": "198.19.1.7", "ports": ports}},
        {"metadata": {"name": "headless"}, "spec": {"clusterIP": "None", "ports": ports}},
    ])  # fmt: skip
    assert links["VEDETTE_SERVICE_HOST"] == "198.19.1.7"
    assert links["VEDETTE_PORT"] == "tcp://198.19.1.7:8080"
    assert links["VEDETTE_SERVICE_PORT_GRPC"] == "8081"
    assert not [name for name in links if name.startswith("HEADLESS")]


@pytest.mark.parametrize(("container", "expected"), [
    pytest.param({}, ["image", "x"], id="the image's"),
    pytest.param({"args": ["$(A)"]}, ["image", "1"], id="args replace the image's"),
    pytest.param({"command": ["c"]}, ["c"], id="a command replaces both"),
])  # fmt: skip
def test_command_lines(container, expected):
    assert command_line(container, ["image"], ["x"], {"A": "1"}) == expected


@pytest.mark.parametrize(("answers", "holds", "expected"), [
    pytest.param([False, False], True, True, id="two failures of three change nothing"),
    pytest.param([False, False, False], True, False, id="three in a row do"),
    pytest.param([False, False, True, False, False], True, True, id="an answer between them begins anew"),
    pytest.param([True], False, True, id="one success is enough by default"),
])  # fmt: skip
def test_thresholds(answers, holds, expected):
    verdict = threshold({}, holds=holds)
    for passed in answers:
        verdict = verdict.after(passed)
    assert verdict.holds is expected


def test_a_threshold_of_successes():
    verdict = Threshold(False, success=2)
    assert not verdict.after(True).holds
    assert verdict.after(True).after(True).holds


def test_ports_have_names():
    container = {"name": "c", "ports": [{"name": "serve", "containerPort": 8080}]}
    assert port_of(container, "serve") == port_of(container, 8080) == port_of(container, "8080") == 8080
    with pytest.raises(ValueError, match="has no port http"):
        port_of(container, "http")


RUNNING = ContainerState({"running": {}}, ready=True, started=True)
WAITING = waiting("ContainerCreating")


def ended(code: int) -> ContainerState:
    return ContainerState({"terminated": {"exitCode": code}})


@pytest.mark.parametrize(("spec", "initial", "main", "expected"), [
    pytest.param({}, {}, {"c": WAITING}, "Pending", id="nothing has begun"),
    pytest.param({}, {"i": RUNNING}, {"c": WAITING}, "Pending", id="init containers first"),
    pytest.param({}, {"i": ended(0)}, {"c": RUNNING}, "Running", id="one runs"),
    pytest.param({}, {}, {"c": restarted(ended(1), "CrashLoopBackOff")}, "Running", id="between two starts it runs"),
    pytest.param({"restartPolicy": "Never"}, {"i": ended(1)}, {"c": WAITING}, "Failed", id="an init container failed for good"),
    pytest.param({"restartPolicy": "Never"}, {}, {"c": ended(0)}, "Succeeded", id="all ended well"),
    pytest.param({"restartPolicy": "Never"}, {}, {"c": ended(0), "d": ended(3)}, "Failed", id="one ended badly"),
    pytest.param({"restartPolicy": "Never"}, {}, {"c": ended(0), "d": RUNNING}, "Running", id="one still runs"),
])  # fmt: skip
def test_phases(spec, initial, main, expected):
    spec = {"initContainers": [{"name": name} for name in initial], **spec}
    assert phase(spec, initial, main) == expected


def _conditions(pod: dict[str, Any], main: dict[str, ContainerState], **told: Any) -> dict[str, dict[str, Any]]:
    said = {"address": "198.18.1.10", "host": "198.18.1.2", "now": "2026-01-05T08:00:00Z", "images": {}, **told}
    return {c["type"]: c for c in pod_status(pod, {}, main, **said)["conditions"]}


def test_ready_is_said_with_the_reason_why_not():
    found = _conditions(POD, {"c": ContainerState({"running": {}}, started=True)})
    assert found["Ready"]["status"] == "False"
    assert found["Ready"]["message"] == "containers with unready status: [c]"
    assert _conditions(POD, {"c": RUNNING})["Ready"]["status"] == "True"


def test_a_readiness_gate_waits_for_its_condition():
    gated = {**POD, "spec": {**POD["spec"], "readinessGates": [{"conditionType": "ours"}]}}
    assert _conditions(gated, {"c": RUNNING})["Ready"]["reason"] == "ReadinessGatesNotReady"
    opened = {**gated, "status": {"conditions": [{"type": "ours", "status": "True"}]}}
    assert _conditions(opened, {"c": RUNNING})["Ready"]["status"] == "True"


def test_a_condition_keeps_the_time_since_which_it_holds():
    was = list(_conditions(POD, {"c": RUNNING}).values())
    later = _conditions(POD, {"c": RUNNING}, was=was, now="2026-01-05T09:00:00Z")
    assert later["Ready"]["lastTransitionTime"] == "2026-01-05T08:00:00Z"
    assert (
        _conditions(POD, {"c": WAITING}, was=was, now="2026-01-05T09:00:00Z")["Ready"]["lastTransitionTime"]
        == "2026-01-05T09:00:00Z"
    )


def test_restarts_wait_longer_each_time():
    assert [backoff_s(n, 1.0) for n in (1, 2, 3, 20)] == [1, 2, 4, 300]
    assert restarts("Always", 0)
    assert restarts("OnFailure", 1)
    assert not restarts("OnFailure", 0)
    assert not restarts("Never", 1)


def _image(**fields: Any) -> Any:
    from tests.cluster.kubelet.images import Image

    return Image(**fields)


def test_the_user_of_a_container():
    pod = {"spec": {"securityContext": {"runAsUser": 10001, "fsGroup": 7, "runAsNonRoot": True}}}
    container = {"securityContext": {"runAsUser": 5, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}}
    found = user_of(pod, container, _image())
    assert (found.uid, found.groups, found.read_only, found.drops_capabilities) == (5, (7,), True, True)
    assert user_of(pod, {}, _image()).uid == 10001
    with pytest.raises(ValueError, match="image will run as root"):
        user_of({"spec": {"securityContext": {"runAsNonRoot": True}}}, {}, _image())


def test_an_image_is_what_its_dockerfile_says():
    image = from_dockerfile(ROOT / "manifests/images/operator.Dockerfile")
    assert (image.uid, image.gid, image.cwd) == (10001, 10001, "/opt/vedette/app")
    assert image.command == ("python", "-m", "operators.handlers.main")
    assert image.env["PATH"].startswith("/opt/vedette/bin:/")
    assert (str(ROOT / "operators"), "/opt/vedette/app/operators") in image.layers
    assert not [target for _, target in image.layers if target == "/opt/vedette/app/feature_repo"]
    assert "/usr/bin/wget" in image.masked


def test_instructions_of_a_dockerfile():
    assert instructions("FROM a\n# no\nENV A=1 \\\n    B='2 3'\n") == [["FROM", "a"], ["ENV", "A=1", "B=2 3"]]


@pytest.mark.parametrize("reference", ["vedette-serving", "vedette-serving:0.1.0", "ghcr.io:443/soc/vedette-serving@sha256:00"])
def test_the_name_of_an_image(reference):
    assert named(reference) == "vedette-serving"


def test_new_connections_go_to_ready_pods_and_to_ending_ones_only_in_need():
    port = {"name": "http", "port": 80}

    def one(address: str, ready: bool, serving: bool, terminating: bool) -> dict[str, Any]:
        return {"addresses": [address], "conditions": {"ready": ready, "serving": serving, "terminating": terminating}}

    ready, ends, broken = one("a", True, True, False), one("b", False, True, True), one("c", False, False, False)
    ports = [{"name": "http", "port": 8080}, {"name": "grpc", "port": 8081}]
    assert services.addresses([{"ports": ports, "endpoints": [ready, ends, broken]}], port) == [("a", 8080)]
    assert services.addresses([{"ports": ports, "endpoints": [ends, broken]}], port) == [("b", 8080)]
    assert services.addresses([{"ports": ports, "endpoints": [broken]}], port) == []


def _query(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def _look_up(labels: Any) -> list[str]:
    return ["198.19.1.7"] if list(labels) == ["vedette", "soc"] else []


@pytest.mark.parametrize(("name", "kind", "code", "count"), [
    pytest.param("vedette.soc.svc.cluster.local", 1, 0, 1, id="a Service"),
    pytest.param("VEDETTE.soc.svc.cluster.local", 1, 0, 1, id="in any case of letters"),
    pytest.param("vedette.soc.svc.cluster.local", 28, 0, 0, id="it has no IPv6 address, and exists"),
    pytest.param("other.soc.svc.cluster.local", 1, 3, 0, id="there is none"),
    pytest.param("vedette.example", 1, 3, 0, id="nothing outside"),
])  # fmt: skip
def test_names(name, kind, code, count):
    told = names.answer(_query(name, kind), _look_up)
    number, flags, questions, answers = struct.unpack_from(">HHHH", told)
    assert (number, flags & 0xF, questions, answers) == (7, code, 1, count)
    assert not count or told.endswith(bytes([198, 19, 1, 7]))


def test_half_a_question_is_refused():
    with pytest.raises(ValueError, match="cut off"):
        names.question(_query("vedette.soc")[:-3])
