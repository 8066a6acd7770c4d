"""Keeps a Ray of one machine (`vedette up`, a batch job) on the loopback interface: no other machine can reach its processes.

Ray replaces a node address of 127.0.0.1 by the machine's own address, and then its processes listen on every interface.
Where Ray is told that a cluster has one machine only (its default on macOS and Windows), it keeps to 127.0.0.1.
Serve's replicas have one more listener, for calls between deployments. Serve has no setting for its address."""

import ipaddress
import os
from typing import Any

import ray
from ray._private import ray_constants
from ray.serve._private import replica as serve_replica

_ALL_INTERFACES = "[::]:"


def keep_cluster_to_loopback() -> None:
    """Make this process and those that Ray starts for it use 127.0.0.1 as the node's address. To be called before `ray.init`.

    Its Ray does not report its use to Ray's maker either, unless RAY_USAGE_STATS_ENABLED says so."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False


def keep_replica_to_loopback() -> None:
    """Bind Serve's own listener in a replica to loopback if the node is on loopback. To be called before Serve opens it."""
    if not ipaddress.ip_address(ray.util.get_node_ip_address()).is_loopback:
        return
    add = serve_replica.add_port_to_grpc_server

    def add_on_loopback(server: Any, address: str) -> int:
        return int(add(server, address.replace(_ALL_INTERFACES, "127.0.0.1:")))

    serve_replica.add_port_to_grpc_server = add_on_loopback
