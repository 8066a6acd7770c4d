"""gRPC without features, and HTTP through Envoy beside HTTP direct.

`bare` is grpc.aio around the session and answers the score; `vedette` answers the whole decision (audit and cache off),
`vedette-shipped` with every setting as it ships. `grpc` is h2load with N connections of one stream each, `grpc-streams` one
connection with N streams, as clients that share a channel have it. A prepared message with raw contents, another one each round;
answers checked first. `http/vedette-envoy` is the same replica behind an Envoy with one worker on the same machine: what its place
in front costs."""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from loadtests.bench import targets
from loadtests.bench.benchmarks.doors import (
    BARE,
    PROXY,
    STREAMS,
    DoorFigures,
    bare,
    bring_up,
    measure,
    module_server,
    rows,
    say,
)
from loadtests.bench.errors import BenchError
from loadtests.bench.load.grpc_load import generator
from loadtests.bench.peers import mlserver
from loadtests.bench.process import HOST, Running, ServerUnderTest
from loadtests.bench.report import Row, row
from loadtests.bench.targets import Target
from loadtests.bench.vedette import NAME as OURS
from loadtests.bench.vedette import SHIPPED, vedette
from loadtests.bench.workload import Workload, build_workload

ENVOY: Final = "vedette-envoy"


def servers(workload: Workload, folder: Path) -> list[tuple[str, Callable[[], ServerUnderTest]]]:
    """The servers that speak gRPC."""
    return [
        (BARE, lambda: bare(workload)),
        (OURS, lambda: vedette(workload, folder / "own")),
        (SHIPPED, lambda: vedette(workload, folder / "shipped", SHIPPED)),
        (PROXY, lambda: module_server(PROXY, "serve_proxy", workload, ready_path="/")),
        ("kserve", lambda: module_server("kserve", "kserve_server", workload)),
        ("mlserver", lambda: mlserver(workload, folder)),
    ]


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure every server that can be started."""
    duration_s, clients = 1.0 if quick else 2.0, (1, 32)
    say(f"gRPC load by {generator()}")
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder, ExitStack() as stack:
        workload = build_workload(Path(folder))
        found = DoorFigures()
        up = bring_up(stack, servers(workload, Path(folder)), workload, found, doors=("grpc",))
        measure(up, workload, found, clients=clients, rounds=rounds, duration_s=duration_s, doors=("grpc",))
        there = {server.name for server in up}
        found.problems |= {(STREAMS, server): why for (_, server), why in found.problems.items() if server not in there}
        measure(up, workload, found, clients=(32,), rounds=rounds, duration_s=duration_s, doors=(STREAMS,))
        ours = [server for server in up if server.name == OURS]
        if ours:
            through = [(ENVOY, lambda: envoy(ours[0]))]
            ours += bring_up(stack, through, workload, found, doors=("http",))
            measure(ours, workload, found, clients=clients, rounds=rounds, duration_s=duration_s, doors=("http",))
    return [*rows(found, target), *through_envoy(found)]


def target(door: str, server: str, clients: int, figure: str) -> Target | None:
    """Targets of gRPC."""
    if server == OURS and door in {"grpc", STREAMS} and clients > 1 and figure == "rate":
        return targets.ratio(">=", 2.8)
    if (door, server, clients, figure) == ("grpc", OURS, 1, "p50"):
        return targets.ratio("<=", 1.0)
    return None


def through_envoy(found: DoorFigures) -> Iterator[Row]:
    """The same replica through Envoy and directly. These rows have no bare server, so they are compared with each other."""
    for (door, server, clients), taken in found.items():
        if server != ENVOY:
            continue
        direct = found.get((door, OURS, clients))
        if direct is None:  # it failed meanwhile, and its row says why
            continue
        for figure, unit, attribute in (("p50", "ms", "p50_ms"), ("rate", "req/s", "rate")):
            against = (f"{door}/{OURS}/c{clients}/{figure}", [getattr(s, attribute) for s in direct])
            yield row(
                f"{door}-against-direct/{ENVOY}/c{clients}/{figure}",
                [getattr(s, attribute) for s in taken],
                unit,
                against=against,
            )


def envoy(upstream: Running) -> ServerUnderTest:
    """Envoy with one worker in front of a server's HTTP door. Raises BenchError if there is no Envoy."""
    binary = Path(sys.executable).with_name("envoy")
    if not binary.is_file():
        raise BenchError(f"{binary} is not there; the extra `envoy` installs it")
    configuration = json.dumps({"static_resources": {"listeners": [_listener()], "clusters": [_cluster(upstream.http_port)]}})
    options = ("--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warn")
    return ServerUnderTest(ENVOY, (str(binary), "--config-yaml", configuration, *options), start_s=30.0)


def _listener() -> dict[str, Any]:
    """A listener that passes everything from `{http_port}` to the cluster, without an access log."""
    kind = "type.googleapis.com/envoy.extensions.filters"
    route = {"match": {"prefix": "/"}, "route": {"cluster": OURS}}
    router = {
        "@type": f"{kind}.http.router.v3.Router",
        "suppress_envoy_headers": True,
    }  # its timeout is not a client's deadline
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": router}],
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {"name": "http", "address": _address("{http_port}"), "filter_chains": [chain]}


def _cluster(port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(port)}}
    members = {"cluster_name": OURS, "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": OURS, "type": "STATIC", "connect_timeout": "1s", "load_assignment": members}


def _address(port: int | str) -> dict[str, Any]:
    """An address for Envoy's JSON. A port that is filled in later is text: Envoy takes digits in quotes for a number."""
    return {"socket_address": {"address": HOST, "port_value": port}}
