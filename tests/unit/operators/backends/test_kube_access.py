"""Every way that a kubeconfig says who one is works; what is not there or malformed is told without its secrets."""

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from operators.backends import kube_access
from operators.backends.kube import PODS, Access, Kube, KubeError
from operators.backends.kube_access import access

pytestmark = pytest.mark.heavy

HOST = "https://soc.example:6443"


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KUBERNETES_SERVICE_HOST", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))


def kubeconfig(tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any] | None = None, **more: Any) -> Path:
    contexts = [
        {"name": "soc", "context": {"cluster": "here", "user": "me", "namespace": "detectors"}},
        {"name": "lab", "context": {"cluster": "there", "user": "me"}},
    ]
    clusters = [
        {"name": "here", "cluster": {"server": HOST, **(cluster or {})}},
        {"name": "there", "cluster": {"server": "http://lab.example"}},
    ]
    whole = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "soc",
        "clusters": clusters,
        "contexts": contexts,
        "users": [{"name": "me", "user": user}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(whole | more))
    return path


def plugin(tmp_path: Path, status: dict[str, Any]) -> dict[str, Any]:
    """A user whose credentials a program gives."""
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    program = tmp_path / "plugin"
    program.write_text(f"#!{sys.executable}\nprint({json.dumps(json.dumps(credential))})\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    run = {"apiVersion": credential["apiVersion"], "command": str(program), "interactiveMode": "Never"}
    return {"exec": run}


@pytest.mark.parametrize(
    ("user", "header"),
    [
        pytest.param({"token": "abc"}, "Bearer abc", id="a token"),
        pytest.param({"username": "ana", "password": "pw"}, "Basic YW5hOnB3", id="a name and a password"),
        pytest.param({}, None, id="nobody"),
    ],
)
def test_a_user_of_a_kubeconfig_is_who_we_are(tmp_path: Path, user: dict[str, Any], header: str | None):
    found = access(kubeconfig(tmp_path, user))

    assert (found.server, found.header(), found.namespace) == (HOST, header, "detectors")


def test_a_token_in_a_file_is_read(tmp_path: Path):
    (tmp_path / "token").write_text("of-a-file")

    assert access(kubeconfig(tmp_path, {"tokenFile": "token"})).header() == "Bearer of-a-file"


def test_a_plugin_is_run_and_gives_the_token(tmp_path: Path):
    assert access(kubeconfig(tmp_path, plugin(tmp_path, {"token": "of-a-plugin"}))).header() == "Bearer of-a-plugin"


def test_a_plugin_whose_token_has_run_out_is_run_again(tmp_path: Path):
    found = access(kubeconfig(tmp_path, plugin(tmp_path, {"token": "old", "expirationTimestamp": "2026-01-01T00:00:00Z"})))
    plugin(tmp_path, {"token": "new"})

    assert found.header() == "Bearer new"


def test_a_context_that_is_named_wins_and_one_without_a_namespace_is_in_the_default_one(tmp_path: Path):
    path = kubeconfig(tmp_path, {"token": "abc"})

    found = access(path, "lab")

    assert (found.server, found.tls, found.namespace) == ("http://lab.example", None, "default")


def test_a_kubeconfig_without_a_current_context_is_used_by_one_that_is_named(tmp_path: Path):
    path = kubeconfig(tmp_path, {"token": "abc"}, **{"current-context": ""})

    assert access(path, "soc").namespace == "detectors"


def test_several_usual_kubeconfigs_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = tmp_path / "first"
    first.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "lab"}))
    both = f"{first}:{kubeconfig(tmp_path, {'token': 'abc'})}"
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", both)

    assert access(context="lab").server == "http://lab.example"


def test_proxy_and_name_of_the_certificate_are_the_kubeconfig_s(tmp_path: Path):
    found = access(kubeconfig(tmp_path, {}, {"proxy-url": "http://proxy.example:3128", "tls-server-name": "api.internal"}))

    assert (found.proxy, found.tls_server_name) == ("http://proxy.example:3128", "api.internal")


def test_the_proxy_of_the_environment_is_used_but_not_for_what_it_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = kubeconfig(tmp_path, {})
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert access(path).proxy == "http://proxy.example:3128"

    monkeypatch.setenv("NO_PROXY", ".example")
    assert access(path).proxy is None


def in_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("token", "of-the-pod"), ("namespace", "vedette\n")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_CERT_FILENAME", _authority())
    monkeypatch.setattr(kube_access, "_POD_NAMESPACE", tmp_path / "namespace")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")


def _authority() -> str:
    import certifi

    return certifi.where()


def test_in_a_pod_without_a_kubeconfig_it_is_the_pod_s_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    in_a_pod(tmp_path, monkeypatch)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")

    found = access()

    assert (found.server, found.header(), found.namespace) == ("https://10.0.0.1:443", "bearer of-the-pod", "vedette")
    assert found.proxy is None, "a pod reaches its API server by itself"


@pytest.mark.parametrize(
    "named",
    [
        pytest.param(lambda folder: {"kubeconfig": folder / "none"}, id="a file that is not there"),
        pytest.param(lambda folder: {"context": "elsewhere"}, id="a context"),
        pytest.param(lambda folder: {"kubeconfig": kubeconfig(folder, {}), "context": "elsewhere"}, id="no such context"),
    ],
)
def test_in_a_pod_a_cluster_that_is_named_is_never_the_pod_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: Any):
    in_a_pod(tmp_path, monkeypatch)

    with pytest.raises(KubeError, match="no cluster to talk to"):
        access(**named(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("- a\n- list\n", id="a list"),
        pytest.param("a: [", id="no YAML"),
        pytest.param(
            yaml.safe_dump({"users": "me", "contexts": 3, "clusters": None, "current-context": "soc"}), id="other kinds"
        ),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_told(tmp_path: Path, text: str):
    path = tmp_path / "kubeconfig"
    path.write_text(text)

    with pytest.raises(KubeError, match=f"no cluster to talk to: {path}"):
        access(path)


def test_no_secret_of_a_kubeconfig_is_in_a_message(tmp_path: Path):
    path = kubeconfig(tmp_path, {}, users=[{"name": "me", "token": "s3cr3t"}])

    with pytest.raises(KubeError) as told:
        access(path)

    assert "s3cr3t" not in str(told.value)


def test_a_proxy_that_does_not_speak_http_is_told_without_its_password(tmp_path: Path):
    path = kubeconfig(tmp_path, {}, {"proxy-url": "socks5://me:s3cr3t@proxy.example"})

    with pytest.raises(KubeError, match="speaks socks5") as told:
        access(path)

    assert "s3cr3t" not in str(told.value)


async def test_requests_go_by_the_proxy():
    async def proxy(request: web.Request) -> web.Response:
        return web.json_response({"metadata": {"name": request.raw_path if request.raw_path[:1] != "/" else request.host}})

    app = web.Application()
    app.router.add_get("/{path:.*}", proxy)
    async with TestServer(app) as server:
        by_proxy = Access("http://api.example", None, lambda: None, None, "soc", str(server.make_url("/")))
        async with Kube(by_proxy, manager="test") as kube:
            found = await kube.get(PODS, "soc", "a")
    assert "api.example" in found["metadata"]["name"]
