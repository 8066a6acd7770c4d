"""`vedette console`: serve the console for browsers, or print a link that signs in at the one that `vedette up` serves."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import CommandError, Json, errors, print_json
from operators.cli.control_plane import ControlPlaneChoice, with_control_plane
from operators.cli.store.store_option import store_to_use
from operators.cli.up import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from operators.console.sign_in import Links
    from operators.control.port import Control
    from serving.settings import ServingSettings


@with_control_plane
def console(
    choice: ControlPlaneChoice,
    host: Annotated[str, typer.Option(help="Address to listen on; beyond loopback an access policy is needed.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any free one.")] = 8090,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="Host name that people use, e.g. console.soc.example or HOST:PORT; repeat it."),
    ] = None,
    base: Annotated[str, typer.Option(help="Path before every address, e.g. /vedette, behind a proxy that keeps it.")] = "",
    access: Annotated[Path | None, typer.Option(help="Access policy (default: VEDETTE_ACCESS).")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    is_proxied_tls: Annotated[
        bool, typer.Option("--behind-tls", help="A proxy before the console ends TLS: cookies are sent over https only.")
    ] = False,
    door: Annotated[
        list[str] | None, typer.Option(help="Address of a replica to show, e.g. http://127.0.0.1:8080; repeat it.")
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="Print a link that signs in at the running console of the store, and stop.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Serve pages for people: rollouts, detections, models, drift, service, audit. Runs until Ctrl-C."""
    from serving.settings import ServingSettings

    settings = ServingSettings()
    has_store = not choice.is_cluster or "store_dir" in settings.model_fields_set
    store_dir = (store_to_use(choice.store_dir) if has_store else settings.store_dir).resolve()
    if link:
        _print_link(store_dir, as_json=as_json)
        return
    if (tls_cert is None) != (tls_key is None):
        raise CommandError("give --tls-cert and --tls-key together")
    policy = access or settings.access
    if policy is None and not is_loopback(host):
        raise CommandError(
            f"--host {host} is reached from other machines, and there is no access policy; set VEDETTE_ACCESS or --access, "
            "or listen on 127.0.0.1"
        )
    _check_base(base)
    _serve(
        choice,
        settings,
        store_dir,
        has_store,
        host,
        port,
        (name or [], door or []),
        base,
        policy,
        (tls_cert, tls_key),
        is_proxied_tls,
        as_json,
    )


def _serve(
    choice: ControlPlaneChoice,
    settings: "ServingSettings",
    store_dir: Path,
    has_store: bool,
    host: str,
    port: int,
    names_and_doors: tuple[list[str], list[str]],
    base: str,
    policy: Path | None,
    tls: tuple[Path | None, Path | None],
    is_proxied_tls: bool,
    as_json: bool,
) -> None:
    from operators.console.console_process import address_of, open_port, yield_to_others
    from operators.console.launch import ConsoleOptions, make_console
    from operators.console.server import ConsoleServer
    from operators.console.sign_in import keep_link_key
    from serving.telemetry.logs import configure_logging

    control = choice.open()
    try:
        listener = open_port(host, port)
    except OSError as problem:
        raise CommandError(
            f"{host}:{port}: cannot listen there: {problem.strerror}; choose another port with --port"
        ) from problem
    bound = listener.getsockname()[1]
    address = address_of(host, bound, is_tls=tls[0] is not None) + base
    links: Links | None = keep_link_key(store_dir, address) if policy is None else None
    names, doors = names_and_doors
    options = ConsoleOptions(
        control,
        store_dir if has_store else None,
        names=(*names, *([host] if is_loopback(host) else [])),
        base=base,
        access=policy,
        doors=tuple(doors),
        is_tls=tls[0] is not None or is_proxied_tls,
        acting_by=_acting_by(control) if policy is not None and choice.is_cluster else None,
    )
    configure_logging(settings.log_level)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    made = make_console(options, bound, links)
    yield_to_others()
    _tell(address, links, as_json=as_json)
    ConsoleServer(made.asgi(), listener, tls_cert=tls[0], tls_key=tls[1]).run()


def _acting_by(control: "Control") -> "Callable[[str], Control] | None":
    """In a cluster: how the user of a token reaches the same services."""
    from operators.control.cluster import ClusterControl

    return control.as_bearer if isinstance(control, ClusterControl) else None


def _tell(address: str, links: "Links | None", *, as_json: bool) -> None:
    link = None if links is None else f"{address}/sign-in/{links.make()}"
    if as_json:
        print_json({"console": address, "link": link, "pid": os.getpid()})
        return
    print(f"console  {link or address}", flush=True)
    errors.print("the link signs you in once; Ctrl-C stops" if link else "sign in with an API key or a token; Ctrl-C stops")


def _print_link(store_dir: Path, *, as_json: bool) -> None:
    from operators.console.sign_in import link_file, read_link_key

    try:
        address, links = read_link_key(store_dir)
    except (OSError, ValueError, KeyError) as problem:
        raise CommandError(
            f"{link_file(store_dir)}: says no console of this store; start one with `vedette up` or `vedette console`"
        ) from problem
    made = f"{address}/sign-in/{links.make()}"
    if as_json:
        print_json({"link": made})
    else:
        print(made)


def _check_base(base: str) -> None:
    is_path = base.startswith("/") and not base.endswith("/") and "//" not in base and base.replace("/", "").isidentifier()
    if base and not is_path:
        raise CommandError(f"--base {base!r}: write a path such as /vedette, without a slash at its end")
