"""The Ray Serve shell: one replica with its own listeners.

Ray Serve places, restarts and drains replicas. Requests do not pass through it, unless `front_door` is `serve`. serving.app composes
the service behind the doors; it runs on the listeners' loop."""

import asyncio
from collections.abc import Mapping
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from serving.doors.http.door import HttpDoor
from serving.doors.http.reply import refusal
from serving.doors.interpreter import settle
from serving.doors.listener import http_door
from serving.ray_loopback import keep_replica_to_loopback
from serving.replica.host import GRACE_S, Compose, ReplicaHost
from serving.replica.spare_process import start_spare
from serving.settings import ServingSettings


@serve.deployment(
    name="Replica",
    ray_actor_options={"num_cpus": 0.1},
    graceful_shutdown_timeout_s=GRACE_S + 20,  # the doors' grace, then the time to close what is behind them
    health_check_period_s=1,  # a replica that died is noticed by its next check
    logging_config={"enable_access_log": False, "log_level": "WARNING"},
)
class Replica:
    """One replica in a Ray actor."""

    def __init__(self, settings: ServingSettings, compose: Compose, *, shares_ports: bool = False) -> None:
        keep_replica_to_loopback()
        self._host = ReplicaHost(settings, compose, shares_ports=shares_ports)
        self._ports = self._host.open()
        self._is_configured, self._has_spare = False, settings.spare_process
        self._door = http_door(self._host.backend, settings.max_body_bytes)

    def reconfigure(self, config: Mapping[str, Any]) -> None:
        """Ray Serve's user_config, or `{}` without one: Serve hands over the first right after `__init__`.

        The first call returns when all of it is loaded, because Serve then counts the application as running. Nothing is served
        before it: the newest version in the store may be a candidate. Later calls return at once, so that the replica answers its
        health check while it probes a bundle."""
        if not self._is_configured:
            self._host.reconfigure(config)
            settle()
            self._is_configured = True
            if self._has_spare:  # the one before has become this replica, or there is none yet
                start_spare()
        elif config:
            self._host.reconfigure(config, is_waiting=False)

    def check_health(self) -> None:
        """Raise if the listeners are dead; Ray Serve then replaces this replica."""
        if not self._host.is_well():
            raise RuntimeError("the listeners' loop does not answer")
        if not self._is_configured:  # a user_config of null: Serve hands nothing over
            self.reconfigure({})

    def record_autoscaling_stats(self) -> dict[str, float]:
        """The replica's load, for a custom policy of Ray Serve's autoscaler, which does not see the requests of our listeners.

        Source: Ray Serve, "Custom autoscaling policies". By default the control plane sets the number of replicas."""
        return dict(self._host.load())

    def ports(self) -> tuple[int, int | None]:
        """Where the doors listen: HTTP, gRPC."""
        return self._ports.http, self._ports.grpc

    async def __call__(self, request: Request) -> Response:
        """A request that came through Ray Serve's own proxy (`front_door: serve`)."""
        body = await request.body()
        return await asyncio.wrap_future(self._host.submit(_through(self._door, dict(request.scope), body)))

    def __del__(self) -> None:
        self._host.stop()


async def _through(door: HttpDoor, scope: dict[str, Any], body: bytes) -> Response:
    """Answer a request that Serve's proxy has read, as our own listener would."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    refused = door.admit_head(scope["method"], path, dict(scope["headers"]))
    if refused is not None:
        reply = refusal(refused)
        response = Response(reply.body, reply.status)
        response.raw_headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
        return response
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await door(scope, receive, send)
    response = Response(sent[1]["body"], sent[0]["status"])
    response.raw_headers = sent[0]["headers"]
    return response
