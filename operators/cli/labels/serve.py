"""`vedette label serve`: the HTTP door of labels."""

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.audit.archive_options import Archive, archive_if_there, settings_of
from operators.cli.console import CommandError, errors, page
from operators.cli.labels.options import Unseen, label_desk
from operators.cli.labels.queue import as_record, planned
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from operators.control.labels.server import LabelDoor


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8095,
    host: Annotated[str, typer.Option(help="Address to listen on (default: this machine only).")] = "127.0.0.1",
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the bearer token of clients, read for each request (default: keys/labels.token in the store, made if missing)."
        ),
    ] = None,
    is_unseen_taken: Unseen = False,
    archive: Archive = None,
    store_dir: StoreDir = None,
) -> None:
    """Accept labels over HTTP: POST /v1/labels. GET /openapi.json describes the rest. Runs until Ctrl-C, apart from the replicas."""
    store = settings_of(store_dir).store_dir
    place = token_file or store / "keys" / "labels.token"
    if token_file is None:
        _make_token(place)
    elif not token_file.is_file():
        raise CommandError(f"{token_file}: holds no token; write one line into it, e.g. `openssl rand -hex 32 > {token_file}`")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(host, port, place, is_unseen_taken, archive, store_dir))


def _make_token(path: Path) -> None:
    """A new token, readable by this user alone, unless there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(32) + "\n")


async def _run(host: str, port: int, token: Path, is_unseen_taken: bool, archive: str | None, store_dir: Path | None) -> None:
    from aiohttp import web

    from operators.control.labels.intake import LabelIntake

    desk = label_desk(store_dir, archive, "http", is_unseen_taken=is_unseen_taken)
    async with LabelIntake(desk) as intake:
        runner = web.AppRunner(_door(intake, desk, token, archive, store_dir).application(), access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
            bound = runner.addresses[0]
            page().print(
                f"labels are accepted at http://{bound[0]}:{bound[1]}/v1/labels; the token is in {token}",
                markup=False,
                soft_wrap=True,
            )
            await _until_told()
        finally:
            await runner.cleanup()
    errors.print("stopped; every label that was acknowledged is in the log")


def _door(intake: Any, desk: Any, token: Path, archive: str | None, store_dir: Path | None) -> "LabelDoor":
    import importlib.metadata

    from lifecycle.labels.counting import LabelCounter
    from lifecycle.labels.errors import WrongLabel
    from operators.control.labels.server import LabelDoor, token_in

    def draw(model: str, budget: int, seed: int, since: str, is_recorded: bool) -> Mapping[str, Any]:
        try:
            shares = (0.3, 0.3, 1.0)
            found = planned(
                model,
                budget=budget,
                seed=seed,
                since=since,
                shares=shares,
                archive=archive,
                store_dir=store_dir,
                is_dry=not is_recorded,
            )
        except CommandError as problem:
            raise WrongLabel(str(problem)) from problem
        return as_record(found)

    predictions = settings_of(store_dir).store_dir / "audit"
    counter = LabelCounter(desk.log, predictions, archive_if_there(store_dir, archive))
    return LabelDoor(intake, desk.log, counter, draw, token_in(token), version=importlib.metadata.version("vedette"))


async def _until_told() -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    await told.wait()
