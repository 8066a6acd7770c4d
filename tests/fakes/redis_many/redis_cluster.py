"""A real Redis Cluster on loopback, and a real master with sentinels: for a whole run, or a test's own to kill nodes of.

Nodes are redis-servers of `redis_server`; `redis-cli --cluster create` joins them."""

import atexit
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import pytest
import redis

from tests import run_servers
from tests.fakes.redis_server import PROGRAM, STARTED, RedisServer
from tests.ports import free_port
from tests.waiting import until

MASTERS = 3
HURRIED_MS, PATIENT_MS = 3000, 60_000
"""When a node that says nothing is taken for dead: where tests kill some, and where none is killed, however busy the machine is."""
PASSWORD = "s p@ce"
"""Of the nodes that ask for one."""


def tls_options(port: int, secret: Path) -> list[tuple[str, str]]:
    """Of a redis-server or a sentinel that speaks TLS only, with the certificate in this folder."""
    files = {"cert": "crt", "key": "key", "ca-cert": "crt"}
    given = [(f"tls-{kind}-file", f"{secret}/tls.{end}") for kind, end in files.items()]
    return [("port", "0"), ("tls-port", str(port)), *given, ("tls-auth-clients", "no"), ("tls-replication", "yes")]


class TlsRedisServer(RedisServer):
    """One Redis that speaks TLS only, with the certificate in the folder `secret`."""

    def __init__(self, secret: Path) -> None:
        self._secret = secret
        super().__init__()

    def command(self) -> list[str]:
        return [*super().command(), *(w for name, value in tls_options(self.port, self._secret) for w in (f"--{name}", value))]


class ClusterNodeServer(RedisServer):
    """A node. secret: the folder of a certificate; then it speaks TLS only, and asks for PASSWORD."""

    def __init__(self, secret: Path | None = None, down_ms: int = PATIENT_MS) -> None:
        self._bus, self._secret, self._down_ms = free_port(), secret, down_ms
        super().__init__()

    def command(self) -> list[str]:
        own = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", str(self._down_ms)]
        own += ["--cluster-port", str(self._bus), "--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0"]
        if self._secret is not None:
            own += [word for name, value in tls_options(self.port, self._secret) for word in (f"--{name}", value)]
            own += ["--tls-cluster", "yes", "--requirepass", PASSWORD, "--masterauth", PASSWORD]
        return [*super().command(), *own]

    def client(self) -> redis.Redis:
        if self._secret is None:
            return redis.Redis(port=self.port)
        return redis.Redis(port=self.port, password=PASSWORD, ssl=True, ssl_ca_certs=f"{self._secret}/tls.crt")


class RedisClusterServers:
    """Three masters, with `replicas` for each. Starts at once; `stop` when done. secret: see ClusterNodeServer. down_ms: when the others
    take a silent node for dead."""

    def __init__(self, replicas: int = 0, secret: Path | None = None, down_ms: int = PATIENT_MS) -> None:
        self.secret = secret
        self.nodes = [ClusterNodeServer(secret, down_ms) for _ in range(MASTERS * (1 + replicas))]
        places = [f"127.0.0.1:{node.port}" for node in self.nodes]
        options = ["--cluster-yes", *(["--cluster-replicas", str(replicas)] if replicas else [])]
        login = [] if secret is None else ["--tls", "--cacert", f"{secret}/tls.crt", "-a", PASSWORD, "--no-auth-warning"]
        done = subprocess.run(
            ["redis-cli", *login, "--cluster", "create", *places, *options], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        until(lambda: all(self.knows_all(node) for node in self.nodes), "the nodes do not agree")

    def knows_all(self, node: ClusterNodeServer) -> bool:
        """Whether the node says that the cluster is well, and sees every replica in its place."""
        with node.client() as client:
            info = client.cluster("INFO")
            slots = client.execute_command("CLUSTER SLOTS")
        return info["cluster_state"] == "ok" and sum(len(entry) - 2 for entry in raw(slots)) == len(self.nodes)

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:MASTERS])
        return f"redis+cluster://{places}" if self.secret is None else f"rediss+cluster://:{quote(PASSWORD)}@{places}"

    def client(self) -> redis.RedisCluster:
        """A client that writes."""
        if self.secret is None:
            return redis.RedisCluster(host="127.0.0.1", port=self.nodes[0].port)
        return redis.RedisCluster(
            host="127.0.0.1", port=self.nodes[0].port, password=PASSWORD, ssl=True, ssl_ca_certs=f"{self.secret}/tls.crt"
        )

    def masters(self) -> dict[int, list[tuple[int, int]]]:
        """The slots of each master, by its port, as the first node that answers has them."""
        for node in self.nodes:
            try:
                with node.client() as client:
                    entries = raw(client.execute_command("CLUSTER SLOTS"))
            except redis.ConnectionError:
                continue
            found: dict[int, list[tuple[int, int]]] = {}
            for first, last, master, *_ in entries:
                found.setdefault(int(master[1]), []).append((first, last))
            return found
        raise AssertionError("no node answers")

    def replica_of(self, master: int) -> int:
        """The port of a replica of the master at this port."""
        for node in self.nodes:
            with node.client() as client:
                role = client.execute_command("ROLE")
            if role[0] == b"slave" and role[2] == master:
                return node.port
        raise AssertionError(f"{master} has no replica")

    def node_of(self, port: int) -> ClusterNodeServer:
        return next(node for node in self.nodes if node.port == port)

    async def migrate(self, slot: int, store_reads: Callable[[], Awaitable[None]]) -> None:
        """Move a slot to another master as redis-cli does, key by key; after each act the reads go on."""
        clients = {node.port: client_of(node) for node in self.nodes}
        ids = {port: client.execute_command("CLUSTER MYID").decode() for port, client in clients.items()}
        shards = self.masters()
        source = next(port for port, ranges in shards.items() if any(first <= slot <= last for first, last in ranges))
        target = next(port for port in shards if port != source)
        clients[target].execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[source])
        clients[source].execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[target])
        await store_reads()
        while names := clients[source].execute_command("CLUSTER GETKEYSINSLOT", slot, 1):
            clients[source].execute_command("MIGRATE", "127.0.0.1", target, "", 0, 5000, "KEYS", *names)
            await store_reads()
        for port in (target, source, *(each for each in shards if each not in {source, target})):
            clients[port].execute_command("CLUSTER SETSLOT", slot, "NODE", ids[target])
            await store_reads()
        for client in clients.values():
            client.close()

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


def raw(slots: Any) -> list[list[Any]]:
    """redis-py makes a dictionary of CLUSTER SLOTS; as the server says it: first, last, and a list for each node."""
    if not isinstance(slots, dict):
        return list(slots)
    return [[*ends, entry["primary"], *entry["replicas"]] for ends, entry in slots.items()]


def client_of(node: RedisServer) -> redis.Redis:
    return redis.Redis(port=node.port)


class SentinelServers:
    """A master with one replica, watched by three sentinels. options: of each sentinel's configuration."""

    name = "features"

    def __init__(self, *options: str, down_ms: int = PATIENT_MS) -> None:
        self.master, self.replica = RedisServer(), RedisServer()
        with client_of(self.replica) as client:
            client.replicaof("127.0.0.1", self.master.port)
        self.sentinels = [SentinelServer(self.name, self.master.port, down_ms, *options) for _ in range(3)]

    def ready(self) -> "SentinelServers":
        """Once the sentinels know the replica and each other."""
        return self.ready_with(None)

    def ready_with(self, password: str | None) -> "SentinelServers":
        """The same, for sentinels that ask for a password."""
        until(
            lambda: all(each.knows(self.name, self.replica.port, password) for each in self.sentinels),
            "sentinels know no replica",
        )
        return self

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{each.port}' for each in self.sentinels)}/{self.name}"

    def stop(self) -> None:
        for each in (*self.sentinels, self.master, self.replica):
            each.stop()


class SentinelServer(RedisServer):
    """One sentinel. secret: the folder of a certificate; then it speaks TLS only."""

    def __init__(self, name: str, master: int, down_ms: int, *options: str, secret: Path | None = None) -> None:
        self._secret = secret
        self._lines = [
            f"sentinel monitor {name} 127.0.0.1 {master} 2",
            f"sentinel down-after-milliseconds {name} {down_ms}",
            f"sentinel failover-timeout {name} 10000",
            *options,
        ]
        super().__init__()

    def command(self) -> list[str]:
        path = f"{self._folder.name}/sentinel.conf"
        with open(path, "w", encoding="utf-8") as file:
            ports = [("port", str(self.port))] if self._secret is None else tls_options(self.port, self._secret)
            own = [f"{name} {value}" for name, value in ports]
            file.write("\n".join([*own, "bind 127.0.0.1", *self._lines, ""]))
        return [PROGRAM, path, "--sentinel"]

    def client(self, password: str | None = None) -> redis.Redis:
        return redis.Redis(port=self.port, password=password)

    def knows(self, name: str, replica: int, password: str | None) -> bool:
        with self.client(password) as client:
            known = [int(each["port"]) for each in client.sentinel_slaves(name) if not each["is_disconnected"]]
            return known == [replica] and len(client.sentinel_sentinels(name)) == 2


@cache
def shared() -> str:
    """The URL of the run's cluster, for all its workers. Keep your keys apart from others'; kill nothing of it."""
    if PROGRAM is None:
        pytest.skip("redis-server is not installed; `make services` installs it")
    return run_servers.address_of("redis-cluster", ["-m", __name__, "cluster"])


@cache
def shared_sentinels() -> str:
    """The URL of the run's sentinels. Kill nothing of it."""
    if PROGRAM is None:
        pytest.skip("redis-server is not installed; `make services` installs it")
    return run_servers.address_of("redis-sentinels", ["-m", __name__, "sentinels"])


def _serve(kind: str, alive: str) -> NoReturn:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    run_servers.end_with_the_run(alive)
    atexit.register(lambda: [server.stop() for server in STARTED])  # the run may end while they start
    servers = RedisClusterServers() if kind == "cluster" else SentinelServers().ready()
    print(servers.url, flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
