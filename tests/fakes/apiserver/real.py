"""A real API server: etcd and kube-apiserver, started for the tests, or the cluster of VEDETTE_TEST_KUBECONFIG.

The programs are those of KUBEBUILDER_ASSETS, else those that `make cluster-tools` built. `unavailable()` says why there is
none. A kube-controller-manager in the same folder is started too, so that owners' dependents and namespaces are cleaned up;
without one those laws are skipped. KUBECONFIG is never read: it names the user's cluster, not one for tests.
"""

import base64
import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests import quick_yaml as yaml
from tests.fakes.apiserver.certificates import issue
from tests.fakes.apiserver.handle import Handle
from tests.ports import free_ports

START_S = 120.0
_GUARD = """
import os, signal, sys
sys.stdin.read()  # ends when the tests do, even by SIGKILL
for pid in sys.argv[1:]:
    try:
        os.kill(int(pid), signal.SIGKILL)
    except ProcessLookupError:
        pass
"""
CONTROLLERS = "namespace-controller,garbage-collector-controller,clusterrole-aggregation-controller"


GIVEN = "VEDETTE_TEST_KUBECONFIG"
ASSETS = "KUBEBUILDER_ASSETS"
PROGRAMS = ("etcd", "kube-apiserver")
_BUILD = Path(__file__).parents[2] / "cluster" / "tools" / "build.sh"


def built() -> tuple[Path, ...]:
    """Where `make cluster-tools` puts the programs: by the environment, and by the user's own home where HOME is another."""
    own = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    own["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
    asked = [subprocess.check_output(["sh", str(_BUILD), "--where"], env=env, text=True) for env in (dict(os.environ), own)]
    return tuple(Path(answer.strip()) for answer in asked)


def assets() -> Path | None:
    """The folder with etcd and kube-apiserver, if there is one."""
    named = os.environ.get(ASSETS)
    return next((folder for folder in ([Path(named)] if named else built()) if not _missing(folder)), None)


_GO: Final = {"GOGC": "200"}
"""Garbage is collected half as often: a sixth less processor time where definitions come and go, for half as much memory again."""


def _missing(folder: Path) -> list[str]:
    return [program for program in PROGRAMS if not (folder / program).exists()]


def unavailable() -> str:
    """Why no real API server can be had; "" when one can."""
    if os.environ.get(GIVEN) or assets():
        return ""
    if named := os.environ.get(ASSETS):
        return f"no real API server: {ASSETS} is {named}, which has no {' and no '.join(_missing(Path(named)))}"
    return "no real API server: `make cluster-tools` builds one (needs Go, 5 to 10 minutes, once)"


def guard(pids: Sequence[int]) -> "subprocess.Popen[bytes]":
    """A process that ends these when this one is gone without having stopped them."""
    return subprocess.Popen([sys.executable, "-c", _GUARD, *map(str, pids)], stdin=subprocess.PIPE, start_new_session=True)


class RealApiServer(Handle):
    """etcd and kube-apiserver on free loopback ports with a temporary data folder; ended by their own process ids."""

    real = True
    names: Sequence[str] = ()
    """Names and addresses of the server besides those of loopback."""
    api_options: Mapping[str, str] = {}
    """Over those of `_api`."""
    controllers = CONTROLLERS
    manager_options: Mapping[str, str] = {}

    def __init__(self) -> None:
        found = assets()
        if found is None:
            raise RuntimeError(unavailable() or f"{ASSETS} is not set, and {GIVEN} gives a GivenCluster")
        self._assets = found
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self._started: list[subprocess.Popen[bytes]] = []
        self._guard: subprocess.Popen[bytes] | None = None
        self.token = "administrator-of-a-test"  # of a server on loopback that lives for one test run
        self.collects_garbage = (found / "kube-controller-manager").exists()

    def start(self) -> "RealApiServer":
        client_port, peer_port, secure, managing = free_ports(4)
        made = issue(self.folder, *self.names)
        self.authority, self.url = made.authority, f"https://127.0.0.1:{secure}"
        (self.folder / "tokens.csv").write_text(f'{self.token},admin,admin,"system:masters"\n')
        key = rsa.generate_private_key(65537, 2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        (self.folder / "service-accounts.key").write_bytes(pem)
        try:
            self._etcd(client_port, peer_port)
            self._api(client_port, secure, made.certificate, made.key)
            self._await_ready()
            if self.collects_garbage:
                self._manager(managing)
            self._guard = guard([process.pid for process in self._started])
        except BaseException:
            self.stop()
            raise
        return self

    def _run(self, program: str, options: Sequence[str]) -> None:
        log = (self.folder / f"{program}.log").open("wb")
        command = [str(self._assets / program), *options]
        self._started.append(
            subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
                env={**os.environ, **_GO},
            )
        )
        log.close()

    def _etcd(self, client: int, peer: int) -> None:
        at, peers = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        options = [f"--data-dir={self.folder}/etcd", f"--listen-client-urls={at}", f"--advertise-client-urls={at}"]
        options += [
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
        ]
        self._run("etcd", [*options, "--unsafe-no-fsync"])

    def _api(self, etcd: int, port: int, certificate: Path, key: Path) -> None:
        options = {
            "etcd-servers": f"http://127.0.0.1:{etcd}",
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "secure-port": str(port),
            "tls-cert-file": str(certificate),
            "tls-private-key-file": str(key),
            "cert-dir": str(self.folder / "certificates"),
            "token-auth-file": str(self.folder / "tokens.csv"),
            "authorization-mode": "RBAC",
            "service-account-issuer": self.url,
            "service-account-key-file": str(self.folder / "service-accounts.key"),
            "service-account-signing-key-file": str(self.folder / "service-accounts.key"),
            "service-cluster-ip-range": "10.0.0.0/24",
            "disable-admission-plugins": "ServiceAccount",
            "endpoint-reconciler-type": "none",
            "allow-privileged": "true",
            **self.api_options,
        }
        self._run("kube-apiserver", [f"--{name}={value}" for name, value in options.items()])

    def _manager(self, port: int) -> None:
        options = [
            f"--kubeconfig={self.kubeconfig(name='controllers')}",
            f"--controllers={self.controllers}",
            "--leader-elect=false",
            *(f"--{name}={value}" for name, value in self.manager_options.items()),
        ]
        self._run(
            "kube-controller-manager",
            [*options, "--bind-address=127.0.0.1", f"--secure-port={port}", "--concurrent-gc-syncs=2"],
        )

    def _await_ready(self) -> None:
        until = time.monotonic() + START_S
        with self.http() as http:
            while time.monotonic() < until:
                for process in self._started:
                    if process.poll() is not None:
                        raise RuntimeError(f"{Path(str(process.args[0])).name} ended with {process.returncode}:\n{self.tail()}")  # type: ignore[index]
                try:
                    if http.get("/readyz").status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                time.sleep(0.2)
        raise RuntimeError(f"kube-apiserver was not ready after {START_S:.0f} s:\n{self.tail()}")

    def tail(self, lines: int = 20) -> str:
        """The last lines of the servers' logs."""
        return "\n".join(
            "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) for log in sorted(self.folder.glob("*.log"))
        )

    def stop(self) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
        for process in reversed(self._started):  # nothing of it is kept, so nothing needs to be put in order
            process.kill()
            process.wait()
        self._started.clear()
        self._folder.cleanup()


class GivenCluster(Handle):
    """The cluster of VEDETTE_TEST_KUBECONFIG, whose user has a token or a client certificate. Tests work in namespaces of their own there,
    and install definitions and webhooks that they take away again: give them no cluster that matters."""

    real = True
    collects_garbage = True

    def __init__(self, path: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.folder, self._path, self.token = Path(self._folder.name), path, ""

    def start(self) -> "GivenCluster":
        config = yaml.safe_load(Path(self._path).read_text(encoding="utf-8"))
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        self.url, self.token = cluster["server"], user.get("token", "")
        self.authority = self._file(cluster, "certificate-authority")
        if not self.token:
            if not {"client-certificate", "client-certificate-data"} & user.keys():
                raise RuntimeError(
                    f"{self._path}: user {context['user']} has neither a token nor a client certificate; these tests need one"
                )
            self.certificate = self._file(user, "client-certificate"), self._file(user, "client-key")
        return self

    def _file(self, section: dict[str, str], name: str) -> Path:
        """The path of a certificate or key, which a kubeconfig names or holds."""
        if name in section:
            return Path(self._path).parent / section[name]
        held = self.folder / name
        held.write_bytes(base64.b64decode(section[f"{name}-data"]))
        return held

    def stop(self) -> None:
        self._folder.cleanup()


def _named(entries: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def real_api_server() -> Handle:
    """The real server that the environment gives; raises RuntimeError where it gives none (see `unavailable`)."""
    given = os.environ.get(GIVEN)
    return GivenCluster(given) if given else RealApiServer()
