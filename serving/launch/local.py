"""Starts and ends a Ray cluster with Ray Serve on this machine, for `vedette up`."""

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import ray
from ray import serve
from ray._private.node import Node

from serving.app import application
from serving.doors.http.server import bind
from serving.ray_loopback import keep_cluster_to_loopback
from serving.replica.host import most_replicas
from serving.settings import ServingSettings

APPLICATION: Final = "vedette"
DEPLOYMENT: Final = "Replica"
_log = logging.getLogger("vedette.serving")
_QUIET: Final = {"log_level": "WARNING", "enable_access_log": False}
_OBJECT_STORE_BYTES: Final = 100 * 1024 * 1024

_PRELOADED: Final = "RAY_preload_python_modules"
"""Ray's configuration of its nodes (`ray_config_def.h`), read when a node starts."""
START_ATTEMPTS: Final = 4
"""Ray gives a node 30 s to start, and its agents 15; nothing sets them. A machine may be too busy for that for a minute or two."""


class StartError(Exception):
    """Ray could not be started on this machine."""


class LocalServing:
    """A running application: the ports of its doors and its number of replicas.

    set_replicas: sends a new number to Ray Serve; returns when Serve has it."""

    def __init__(
        self,
        settings: ServingSettings,
        ports: tuple[int, int | None],
        stop: Callable[[], None],
        set_replicas: Callable[[int], None],
    ) -> None:
        self.http_port, self.grpc_port = ports
        self.stop = stop
        self.replicas = settings.replicas
        self.most_replicas, self._set_replicas = most_replicas(settings), set_replicas

    def scale(self, replicas: int) -> None:
        """Set the number of replicas, up to the number this machine was started for. New ones take seconds until they answer."""
        replicas = min(max(replicas, 1), self.most_replicas)
        if replicas != self.replicas:
            self._set_replicas(replicas)
            self.replicas = replicas


def start_local(settings: ServingSettings) -> LocalServing:
    """Start Ray, deploy the application, wait until its replicas are up. After an error nothing is left running.

    Raises StartError, or OSError at once for a port that is taken; Serve itself would retry for a minute without a reason."""
    for port in sorted({settings.http_port, settings.grpc_port} - {0}):
        bind(settings.host, port).close()
    settings, reserved = with_ports(settings)
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's default is 15: a busy machine would give a replica next to no CPU
    logging.getLogger("ray").setLevel(logging.WARNING)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        with _preloading(settings.spare_process):
            folder = _start_ray(most_replicas(settings) * (1 + settings.spare_process) + 1)
        if settings.front_door == "serve":
            http = {"host": settings.host, "port": settings.http_port}
            serve.start(proxy_location="HeadOnly", http_options=http, logging_config=_QUIET)
        else:
            serve.start(proxy_location="Disabled", logging_config=_QUIET)
        handle = serve.run(
            application(settings, shares_ports=bool(reserved) or most_replicas(settings) > 1),
            name=APPLICATION,
            route_prefix="/",
            external_scaler_enabled=True,  # Serve must not set the count: docs/decisions/0016-who-owns-the-count.md
            _local_testing_mode=False,
        )
        http_port, grpc_port = _ports(handle, settings)
    except BaseException:
        _stop()
        _close(reserved)
        raise

    def stop() -> None:
        _stop()
        _close(reserved)
        shutil.rmtree(folder, ignore_errors=True)  # Ray's own logs; kept when something failed

    return LocalServing(settings, (http_port, grpc_port), stop, _set_replicas)


def with_ports(settings: ServingSettings) -> tuple[ServingSettings, tuple[socket.socket, ...]]:
    """Replace port 0 by a free port, and the sockets that reserve the doors' ports until they are closed.

    A replica that is started later, in place of one that died or beside others, then listens where clients already send. The sockets
    are bound with SO_REUSEPORT and do not listen, so they get no connections."""
    reserved = []
    if settings.http_port == 0 and settings.front_door == "serve":  # Serve's proxy shares its port with nobody
        with bind(settings.host, 0) as sock:
            settings = settings.model_copy(update={"http_port": sock.getsockname()[1]})
    for field in ("http_port", "grpc_port"):
        if getattr(settings, field) == 0:
            sock = bind(settings.host, 0, reuse_port=True)
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 0
            )  # with it, others that have it may bind what does not listen
            reserved.append(sock)
            settings = settings.model_copy(update={field: sock.getsockname()[1]})
    return settings, tuple(reserved)


def _close(sockets: tuple[socket.socket, ...]) -> None:
    for sock in sockets:
        sock.close()


@contextmanager
def _preloading(is_wanted: bool) -> Iterator[None]:
    """Ray that is started within imports the replica's modules in each of its processes before it is needed."""
    if is_wanted:
        os.environ[_PRELOADED] = "serving.replica.replica,serving.app"
    try:
        yield
    finally:
        if is_wanted:
            del os.environ[_PRELOADED]


def _start_ray(workers: int) -> str:
    """Start a cluster; returns its folder. workers: processes for the controller, the replicas and their spares; Ray keeps so
    many, and starts some of them at once."""
    keep_cluster_to_loopback()
    _leave_out_what_nobody_asks()
    for attempt in range(START_ATTEMPTS):
        folder = tempfile.mkdtemp(prefix="vedette-ray-")
        try:
            ray.init(
                address="local",
                _node_ip_address="127.0.0.1",
                _temp_dir=folder,
                num_cpus=workers,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                logging_level=logging.WARNING,
                log_to_driver=True,
            )
        except Exception as problem:  # Ray raises a bare Exception
            ray.shutdown()
            if attempt + 1 < START_ATTEMPTS:
                _log.warning("Ray did not start: %s Trying again (%d of %d)", problem, attempt + 2, START_ATTEMPTS)
            else:
                raise StartError(
                    f"Ray did not start here: {problem} Its logs are in {folder}; is the machine overloaded?"
                ) from problem
        else:
            return folder
    raise AssertionError("not reached")


def _leave_out_what_nobody_asks() -> None:
    """No dashboard's server and no autoscaler of a cluster: Ray starts both even if it is told to include no dashboard.

    Together they are a fifth of the processor time of a start, and 220 MB."""
    for start in ("start_api_server", "start_monitor"):
        if hasattr(Node, start):
            setattr(Node, start, lambda *_, **__: None)


def _set_replicas(replicas: int) -> None:
    """Call Serve's controller, as Serve's REST interface does; the interface itself needs Ray's dashboard."""
    from ray.serve._private.common import DeploymentID
    from ray.serve.context import _get_global_client

    controller = _get_global_client()._controller
    ray.get(controller.update_deployment_replicas.remote(DeploymentID(DEPLOYMENT, APPLICATION), replicas))


def _stop() -> None:
    if ray.is_initialized():
        try:
            serve.shutdown()
        finally:
            ray.shutdown()


def _ports(handle: Any, settings: ServingSettings) -> tuple[int, int | None]:
    own_http, grpc_port = handle.ports.remote().result(timeout_s=30)
    return (settings.http_port if settings.front_door == "serve" else own_http), grpc_port
