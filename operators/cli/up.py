"""`vedette up`: train (first time), verify, materialize, serve, say where; stay in the foreground until Ctrl-C."""

import importlib.metadata
import ipaddress
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Mapping
from contextlib import ExitStack, redirect_stdout
from io import StringIO
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import Json, errors, print_json
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from operators.console.console_process import ConsoleProcess
    from serving.models.bundle import Bundle
    from serving.models.store import BundleStore
    from serving.settings import ServingSettings


def up(
    dataset: Annotated[str, typer.Option(help="flows, nsl-kdd or a detector file.")] = "flows",
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the real data; without it `flows` is generated.")] = None,
    http_port: Annotated[int | None, typer.Option(help="HTTP port (default: 8080); 0: any free one.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="gRPC port (default: 8081); 0: any free one.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (default: 127.0.0.1).")] = None,
    store_dir: StoreDir = None,
    replicas: Annotated[int | None, typer.Option(help="Ray Serve replicas (default: 1).")] = None,
    max_replicas: Annotated[
        int | None, typer.Option(help="Maximum number of replicas that scaling may start (default: the number is fixed).")
    ] = None,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train even if the store has a model of this data.")] = False,
    no_train: Annotated[
        bool, typer.Option("--no-train", help="Serve the models of the store; make only the example model.")
    ] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Also score a replay of the data as a stream, and print alerts as they come.")
    ] = False,
    stream_speed: Annotated[
        float, typer.Option(min=0, help="Speed of the replay; 1: as fast as it happened, 0: as fast as possible.")
    ] = 10.0,
    has_console: Annotated[
        bool, typer.Option("--console/--no-console", help="Serve the console (pages for people) beside the doors, on loopback.")
    ] = True,
    console_port: Annotated[int, typer.Option(help="Port of the console; a free one if it is taken.")] = 8090,
    as_json: Json = False,
) -> None:
    """Train (the first time), verify, materialize and serve, until Ctrl-C."""
    started = time.monotonic()
    if stream:
        from operators.cli.stream.local_stream import check_local_stream, local_stream

        rows = check_local_stream(None if no_train else dataset, data_dir)
    options = {
        "http_port": http_port,
        "grpc_port": grpc_port,
        "host": host,
        "store_dir": store_dir,
        "replicas": replicas,
        "max_replicas": max_replicas,
    }
    settings = _settings({name: value for name, value in options.items() if value is not None})
    _check_layout(settings)
    bundle = _prepare(settings, None if no_train else dataset, data_dir, retrain=retrain)
    stopping = Event()
    _stop_on_signals(stopping)
    with errors.status("starting Ray Serve"), redirect_stdout(sys.stderr):  # stdout is for our answer alone
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="ray")  # Feast, if it trained, shows them all
        from operators.control.run import rollouts
        from serving.launch.local import start_local

        running = start_local(settings)
    _stop_on_signals(stopping)  # Ray puts handlers of its own
    try:
        with ExitStack() as beside:
            shown = _console(beside, settings, running.http_port, console_port) if has_console else None
            ports = running.http_port, running.grpc_port
            _announce(settings, *ports, bundle, shown, time.monotonic() - started, as_json=as_json)
            if stream:
                here = beside.enter_context(local_stream(settings.store_dir, rows, dataset, stream_speed, as_json=as_json))
            else:
                beside.enter_context(redirect_stdout(sys.stderr))
            beside.enter_context(rollouts(settings, running))
            while not stopping.wait(1.0):
                if stream:
                    here.look()
    finally:
        errors.print("stopping")
        with redirect_stdout(StringIO()):  # Ray reports its own ending actors as failures
            running.stop()
        errors.print("stopped")


def _settings(options: Mapping[str, Any]) -> "ServingSettings":
    from serving.settings import ServingSettings

    settings = ServingSettings(**options)
    changed: dict[str, Any] = {"store_dir": settings.store_dir.resolve()}
    for field in ("repository_control", "risk_over_http"):  # nobody but this machine's people can reach loopback
        if field not in settings.model_fields_set:
            changed[field] = is_loopback(settings.host)
    return settings.model_copy(update=changed)


def _check_layout(settings: "ServingSettings") -> None:
    """Raises StoreLayoutError: the store has to be migrated first, or is a newer version's."""
    from lifecycle.store_layout.run import prepare

    prepare(settings.store_dir, importlib.metadata.version("vedette"))


def is_loopback(host: str) -> bool:
    """Whether what listens there is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: it may be any address
        return False


def url_of(host: str, port: int, scheme: str = "http") -> str:
    """The HTTP address of a listener.

    >>> url_of("::1", 8080)
    'http://[::1]:8080'
    """
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _prepare(settings: "ServingSettings", dataset: str | None, data_dir: Path | None, *, retrain: bool) -> "Bundle | None":
    from operators.backends.local import served_at_start
    from operators.control.run import managed_models
    from serving.audit.keys.keyring import ensure_key
    from serving.loading.served_file import ServedFile, newest_of_each
    from serving.models.errors import ModelError
    from serving.models.store import BundleStore

    store = BundleStore(settings.store_dir)
    if not settings.require_signed:  # nobody signs the example
        _ensure_simple(store)
    if settings.audit and settings.audit_key is None:
        ensure_key(settings.store_dir, settings.audit_key_name)
    bundle = None
    if dataset is not None:
        from operators.cli.models.train import ensure_trained
        from operators.cli.registry.signing import sign_trained

        bundle = ensure_trained(dataset, data_dir, settings, retrain=retrain)
        sign_trained(bundle, settings)  # also what was trained before a key was set
    served = ServedFile(settings.store_dir)
    try:
        before = served.read()
    except ModelError as problem:  # the service documents say what is served of the models they manage
        errors.print(f"{problem}; it is written again", markup=False)
        before = None
    served.write(served_at_start(newest_of_each(store), before, managed_models(settings.store_dir)))
    return bundle


def _ensure_simple(store: "BundleStore") -> None:
    if any(e.name == "simple" for e in store.entries()):
        return
    from tempfile import TemporaryDirectory

    from operators.labs.simple_model import build_simple

    with TemporaryDirectory() as scratch:
        store.add(build_simple(Path(scratch) / "simple"))


def _stop_on_signals(stopping: Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())


def _console(beside: ExitStack, settings: "ServingSettings", http_port: int, port: int) -> "ConsoleProcess | None":
    """None: it cannot be opened, and serving goes on without it."""
    from operators.console.console_process import console_on_demand

    host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104  # nosec B104  # asked, not listened on
    door = url_of(host, http_port, "https" if settings.tls_cert else "http")
    tls = None if settings.tls_cert is None or settings.tls_key is None else (settings.tls_cert, settings.tls_key)
    made = console_on_demand(settings.store_dir, port=port, access=settings.access, doors=[door], tls=tls)
    try:
        return beside.enter_context(made)
    except OSError as problem:
        errors.print(f"there is no console: {problem}", markup=False)
        return None


def _announce(
    settings: "ServingSettings",
    http_port: int,
    grpc_port: int | None,
    bundle: "Bundle | None",
    console: "ConsoleProcess | None",
    took_s: float,
    *,
    as_json: bool,
) -> None:
    url = url_of(settings.host, http_port, "https" if settings.tls_cert else "http")
    example = _example(settings, bundle)
    model = bundle.manifest.name if bundle else "simple"
    trust = f" --cacert {settings.tls_cert}" if settings.tls_cert else ""
    curl = f"curl -s{trust} {url}/v2/models/{model}/infer -d @{example}"
    if as_json:
        print_json(
            {
                "http": url,
                "grpc": f"{settings.host}:{grpc_port}",
                "model": model,
                "curl": curl,
                "ready_s": round(took_s, 1),
                "pid": os.getpid(),
                "console": console and console.address,
                "console_link": console and console.link,
            }
        )
        sys.stdout.flush()
        return
    errors.print(f"[bold green]ready[/] after {took_s:.1f} s, process {os.getpid()}; Ctrl-C stops")
    print(f"HTTP   {url}\ngRPC   {settings.host}:{grpc_port}\nstore  {settings.store_dir}")
    if console is not None:
        moved = "" if console.is_port_as_asked else "  (the port that was asked for is taken)"
        print(f"pages  {console.link or console.address}{moved}")
    print(f"\nTry:\n  {curl}", flush=True)


def _example(settings: "ServingSettings", bundle: "Bundle | None") -> Path:
    folder = settings.store_dir / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    name = bundle.manifest.name if bundle else "simple"
    path = folder / f"{name}.json"
    own = bundle.folder / "example.json" if bundle else None
    if own is not None and own.is_file():
        path.write_bytes(own.read_bytes())
    else:
        sixteen = list(range(16))
        tensors = [{"name": n, "shape": [1, 16], "datatype": "INT32", "data": sixteen} for n in ("INPUT0", "INPUT1")]
        path.write_text(json.dumps({"inputs": tensors}) + "\n")
    shown = os.path.relpath(path)
    return Path(shown) if not shown.startswith("..") else path
