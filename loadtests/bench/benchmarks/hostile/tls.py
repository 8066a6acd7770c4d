"""TLS at our own doors: the same replica plain and over TLS 1.3, in turn in one run, and what full and resumed handshakes cost.

`vedette` and `vedette-tls` differ by their certificate only. Kept connections, as clients of a detector have them: `http` is wrk with N
connections, `grpc` h2load with N connections of one stream, `grpc-streams` one connection with N streams. The load generator encrypts on
the same cores, so a rate over TLS pays for both sides. `handshake` opens a connection, asks for liveness and closes, one at a time."""

import datetime
import ipaddress
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from loadtests.bench import targets
from loadtests.bench.benchmarks.doors import STREAMS, DoorFigures, all_up, bring_up, cell
from loadtests.bench.errors import BenchError
from loadtests.bench.process import HOST, Running, ServerUnderTest, connection_to
from loadtests.bench.report import Row, row
from loadtests.bench.vedette import NAME as PLAIN
from loadtests.bench.vedette import vedette
from loadtests.bench.workload import Workload, build_workload

TLS: Final = "vedette-tls"
DOORS: Final = ("http", "grpc", STREAMS)
CLIENTS: Final = 32
HANDSHAKES: Final = 100
UNITS: Final = {"p50": "ms", "p99": "ms", "rate": "req/s", "cpu": "us"}
"""cpu: of the replica for each request. It hardly depends on what else the machine does, and does not include the load generator's."""
_TARGETS: Final = {"rate": targets.ratio(">=", 0.8), "cpu": targets.ratio("<=", 1.25)}
_ASKED: Final = b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure both servers in turn."""
    duration_s = 1.0 if quick else 3.0
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder, ExitStack() as stack:
        place = Path(folder)
        workload, found = build_workload(place), DoorFigures()
        write_certificate(place)
        servers = [(PLAIN, lambda: vedette(workload, place / "plain")), (TLS, lambda: with_tls(workload, place))]
        up = bring_up(stack, servers, workload, found)
        all_up(up, len(servers), found)
        return [*kept(up, workload, rounds=rounds, duration_s=duration_s), *handshakes(up, rounds)]


def kept(up: list[Running], workload: Workload, *, rounds: int, duration_s: float) -> Iterator[Row]:
    """Figures on kept connections: those over TLS beside the plain ones of the same rounds."""
    taken = in_rounds(DOORS, up, workload, rounds=rounds, duration_s=duration_s)
    for (door, name, figure), values in taken.items():
        plain = (f"{door}/{PLAIN}/c{CLIENTS}/{figure}", taken[door, PLAIN, figure])
        bound = _TARGETS.get(figure) if name == TLS else None
        against = plain if name == TLS else None
        yield row(f"{door}/{name}/c{CLIENTS}/{figure}", values, UNITS[figure], against=against, target=bound)


def in_rounds(
    doors: Sequence[str], up: Sequence[Running], workload: Workload, *, rounds: int, duration_s: float
) -> dict[tuple[str, str, str], list[float]]:
    """By door, server and figure (a key of UNITS), one value a round. The servers take turns, each round in the other order.

    Servers `NAME#1` and `NAME#2` are replicas of NAME. Each gives a value a round, in the same order for every name."""
    taken: dict[tuple[str, str, str], list[float]] = {}
    for door in doors:
        for index in range(rounds + 1):  # the first is the warm-up
            for server in up if index % 2 else up[::-1]:
                before = spent(server)
                sample = cell(door, server, workload, clients=CLIENTS, index=index, duration_s=duration_s)
                after = spent(server)
                cpu_us = (after[0] - before[0]) / max(after[1] - before[1], 1) * 1e6
                figures = {"p50": sample.p50_ms, "p99": sample.p99_ms, "rate": sample.rate, "cpu": cpu_us}
                for figure, value in figures.items() if index else ():
                    taken.setdefault((door, server.name.partition("#")[0], figure), []).append(value)
    return taken


def spent(server: Running) -> tuple[float, float]:
    """CPU seconds of this replica alone, and the number of requests that it answered."""
    connection = connection_to(server.http_port, server.authority, timeout_s=10)
    try:
        connection.request("GET", "/metrics?replica=self")  # replicas of one store show each other's figures too
        page = connection.getresponse().read().decode()
    finally:
        connection.close()
    lines = [line.rpartition(" ") for line in page.splitlines()]
    cpu_s = sum(float(value) for series, _, value in lines if series.startswith("process_cpu_seconds_total"))
    return cpu_s, sum(float(value) for series, _, value in lines if series.startswith("vedette_requests_total{"))


def with_tls(workload: Workload, place: Path) -> ServerUnderTest:
    """The server, with a certificate."""
    certificate, key = place / "tls.crt", place / "tls.key"
    made = vedette(workload, place / "tls", TLS, tls_cert=str(certificate), tls_key=str(key))
    return ServerUnderTest(TLS, made.command, environment=made.environment, authority=certificate)


def handshakes(up: list[Running], rounds: int) -> Iterator[Row]:
    """Milliseconds from opening a connection to its first answer: plain, with a full handshake, with a resumed one."""
    plain, tls = (next(one for one in up if one.name == name) for name in (PLAIN, TLS))
    taken: dict[str, list[float]] = {"plain": [], "full": [], "resumed": []}
    for _ in range(rounds):
        taken["plain"].append(_opened_ms(plain, is_resumed=False))
        taken["full"].append(_opened_ms(tls, is_resumed=False))
        taken["resumed"].append(_opened_ms(tls, is_resumed=True))
    against = ("handshake/plain/p50", taken["plain"])
    for name, values in taken.items():
        yield row(f"handshake/{name}/p50", values, "ms", against=None if name == "plain" else against)


def _opened_ms(server: Running, *, is_resumed: bool) -> float:
    trust = None if server.authority is None else ssl.create_default_context(cafile=str(server.authority))
    session: ssl.SSLSession | None = None
    times, resumed = [], 0
    for _ in range(HANDSHAKES):
        begun = time.perf_counter()
        sock = socket.create_connection((HOST, server.http_port), timeout=10)
        if trust is not None:
            secured = trust.wrap_socket(sock, server_hostname="localhost", session=session if is_resumed else None)
            secured.sendall(_ASKED)
            secured.recv(4096)
            resumed += bool(secured.session_reused)
            session, sock = secured.session, secured
        else:
            sock.sendall(_ASKED)
            sock.recv(4096)
        times.append(time.perf_counter() - begun)
        sock.close()
    if is_resumed and resumed <= HANDSHAKES // 2:  # the median would be one of the others
        raise BenchError(f"only {resumed} of {HANDSHAKES} handshakes with {server.name} were resumed")
    return sorted(times)[len(times) // 2] * 1000


def write_certificate(folder: Path) -> None:
    """A self-signed certificate for this machine with an ECDSA key, as tls.crt and tls.key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))])
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(minutes=5))
    built = built.not_valid_after(now + datetime.timedelta(days=1)).add_extension(names, critical=False)
    built = built.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=False, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    built = built.add_extension(usage, critical=True)
    built = built.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    pem = serialization.Encoding.PEM
    (folder / "tls.crt").write_bytes(built.sign(key, hashes.SHA256()).public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "tls.key").write_bytes(private)
