"""A real Redis Cluster on loopback, and a real master with sentinels: for a whole run, or a test's own to kill nodes of.

Nodes are redis-servers of `redis_server`; `redis-cli --cluster create` joins them."""

import atexit
import signal
import subprocess
import sys
from functools import cache
from typing import NoReturn

import pytest
import redis

from tests import run_servers
from tests.fakes.redis_server import PROGRAM, RedisServer, free_port
from tests.waiting import until

MASTERS = 3


class RedisClusterServers:
    """Three masters, with `replicas` for each. Starts at once; `stop` when done."""

    def __init__(self, replicas: int = 0) -> None:
        self.nodes: list[RedisServer] = []
        count = MASTERS * (1 + replicas)
        for _ in range(count):
            self.nodes.append(
                RedisServer(
                    *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "1000"),
                    *(
                        "--cluster-port",
                        str(free_port()),
                        "--cluster-require-full-coverage",
                        "no",
                        "--repl-diskless-sync-delay",
                        "0",
                    ),
                )
            )
        places = [f"127.0.0.1:{node.port}" for node in self.nodes]
        options = ["--cluster-yes", *(["--cluster-replicas", str(replicas)] if replicas else [])]
        done = subprocess.run(
            ["redis-cli", "--cluster", "create", *places, *options], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        until(lambda: all(self.knows_all(node) for node in self.nodes), "the nodes do not agree")

    def knows_all(self, node: RedisServer) -> bool:
        """Whether the node says that the cluster is well, and sees every replica in its place."""
        with client_of(node) as client:
            info = client.cluster("INFO")
            slots = client.execute_command("CLUSTER SLOTS")
        return info["cluster_state"] == "ok" and sum(len(entry) - 2 for entry in raw(slots)) == len(self.nodes)

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes[:MASTERS])}"

    def client(self) -> redis.RedisCluster:
        """A client that writes."""
        return redis.RedisCluster(host="127.0.0.1", port=self.nodes[0].port)

    def node_of(self, port: int) -> RedisServer:
        return next(node for node in self.nodes if node.port == port)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


def raw(slots: object) -> list[list[object]]:
    """redis-py makes a dictionary of CLUSTER SLOTS; as the server says it: first, last, and a list for each node."""
    if not isinstance(slots, dict):
        return list(slots)  # type: ignore[call-overload]
    return [[*ends, entry["primary"], *entry["replicas"]] for ends, entry in slots.items()]


def client_of(node: RedisServer) -> redis.Redis:
    return redis.Redis(port=node.port)


class SentinelServers:
    """A master with one replica, watched by three sentinels. options: of each sentinel's configuration."""

    name = "features"

    def __init__(self, *options: str) -> None:
        self.master, self.replica = RedisServer(), RedisServer()
        with client_of(self.replica) as client:
            client.replicaof("127.0.0.1", self.master.port)
        self.sentinels = [SentinelServer(self.name, self.master.port, *options) for _ in range(3)]

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
    """One sentinel."""

    def __init__(self, name: str, master: int, *options: str) -> None:
        self._lines = [
            f"sentinel monitor {name} 127.0.0.1 {master} 2",
            f"sentinel down-after-milliseconds {name} 1000",
            f"sentinel failover-timeout {name} 3000",
            *options,
        ]
        super().__init__()

    def command(self) -> list[str]:
        path = f"{self._folder.name}/sentinel.conf"
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join([f"port {self.port}", "bind 127.0.0.1", *self._lines, ""]))
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
    servers = RedisClusterServers() if kind == "cluster" else SentinelServers().ready()
    atexit.register(servers.stop)
    print(servers.url, flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
