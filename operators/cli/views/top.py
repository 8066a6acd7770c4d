"""`vedette top`: services, replicas, latency, refusals, breakers, records and drift on one screen of a terminal, refreshed until q."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Final

import typer

from operators.cli.console import CommandError, Json, page, print_json
from operators.cli.control_plane import ControlPlaneChoice, with_control_plane

if TYPE_CHECKING:
    from rich.console import Console

    from operators.control.figures.overview import Overview, Watcher
    from operators.control.port import Control

_LEAST_S: Final = 0.2


@with_control_plane
def top(
    choice: ControlPlaneChoice,
    interval: Annotated[
        float, typer.Option(min=_LEAST_S, help="Seconds between two looks; rates are computed over this interval.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look twice, one interval apart, print the screen and stop.")] = False,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            help="Read /metrics of this address instead of finding the replicas, e.g. http://10.0.0.7:8080; may be repeated."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show services, replicas, latency, refusals, breakers, records and drift on one screen.

    With --json: one document for each look, a line each; with --once, one document."""
    control = choice.open()
    watcher = _watcher(control, metrics or [])
    if as_json:
        _print_looks(watcher, interval, once=once)
        return
    console = page()
    if once or not console.is_terminal:
        watcher.read()
        time.sleep(interval)
        _print_screen(console, watcher.read())
        return
    _refresh(console, watcher, interval)


def _watcher(control: "Control", addresses: list[str]) -> "Watcher":
    from operators.control.figures.overview import Watcher
    from operators.control.figures.pages import named_pages
    from operators.control.folder import ControlFolder

    for address in addresses:
        if not address.startswith(("http://", "https://")):
            raise CommandError(f"--metrics {address}: is not an address; write it as http://HOST:PORT")
    store = control.store_dir if isinstance(control, ControlFolder) else None
    return Watcher(control, pages=(lambda: named_pages(addresses)) if addresses else None, store_dir=store)


def _print_looks(watcher: "Watcher", interval_s: float, *, once: bool) -> None:
    import json

    from operators.control.figures.overview import plain_overview

    watcher.read()
    while True:
        try:
            time.sleep(interval_s)
            found = plain_overview(watcher.read())
        except KeyboardInterrupt:
            return
        if once:
            print_json(found)
            return
        print(json.dumps(found), flush=True)


def _print_screen(console: "Console", found: "Overview") -> None:
    from operators.cli.views.top_screen import screen

    console.print(screen(found, console.width, 0))


def _refresh(console: "Console", watcher: "Watcher", interval_s: float) -> None:
    """Draw until q or Ctrl-C. Looks are taken in a thread, so a far end that is slow holds up no key."""
    from rich.live import Live

    from operators.cli.views.keys import terminal_keys
    from operators.cli.views.top_screen import ORDERS, screen

    with _waking() as (wake, wakened), _looking(watcher, interval_s, wakened) as latest, terminal_keys() as keys:
        order = "s"
        with Live(console=console, screen=True, auto_refresh=False) as live:
            try:
                while True:
                    found = latest()
                    if found is not None:
                        live.update(
                            screen(found, console.width, console.height, order=order, interval_s=interval_s), refresh=True
                        )
                    key = keys.wait(interval_s, wake)
                    if key == "q":
                        return
                    order = key if key in ORDERS else order
            except KeyboardInterrupt:
                return


@contextmanager
def _waking() -> "Iterator[tuple[int, Callable[[], None]]]":
    """(a file descriptor that becomes readable, what makes it so). A terminal of another size makes it so too."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def wake() -> None:
        with suppress(OSError):  # it is full: it is readable already
            os.write(writing, b".")

    before = signal.signal(signal.SIGWINCH, lambda *_: wake())
    try:
        yield reading, wake
    finally:
        signal.signal(signal.SIGWINCH, before)
        os.close(reading)
        os.close(writing)


@contextmanager
def _looking(watcher: "Watcher", interval_s: float, wake: "Callable[[], None]") -> "Iterator[Callable[[], Overview | None]]":
    """Look again and again in a thread; gives what was seen last."""
    stopping = threading.Event()
    seen: list[Overview | None] = [None]

    def look() -> None:
        while not stopping.is_set():
            seen[0] = watcher.read()
            if not stopping.is_set():
                wake()
            stopping.wait(interval_s)

    thread = threading.Thread(target=look, name="top", daemon=True)
    thread.start()
    try:
        yield lambda: seen[0]
    finally:
        stopping.set()
        thread.join(0.5)
