"""Puts a console together: where its objects are wired."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from operators.console.application import ConsoleApp
from operators.console.catalogue import PAGES
from operators.console.front_door import OwnOrigins
from operators.console.recording.console_acts import acts_of_store
from operators.console.rendering import Rendering
from operators.console.sign_in import Links, SignIn
from operators.console.site import Site
from operators.control.port import Control

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class ConsoleOptions:
    """How one console is reached and what it shows. names: host names that people use, beyond those of loopback. access: the access policy.

    base: path before every address. doors: addresses of replicas. acting_by: see Site."""

    control: Control
    store_dir: Path | None
    names: tuple[str, ...] = ()
    base: str = ""
    access: Path | None = None
    doors: tuple[str, ...] = ()
    is_tls: bool = False
    acting_by: Callable[[str], Control] | None = None


def make_console(options: ConsoleOptions, port: int, links: Links | None) -> ConsoleApp:
    """The console that listens on this port. Raises AccessPolicyError."""
    rendering = Rendering(PAGES)
    site = Site(options.control, options.store_dir, rendering.html, options.base, options.doors, options.acting_by)
    origins = OwnOrigins.of((*LOOPBACK_NAMES, *options.names), port, is_tls=options.is_tls)
    acts = acts_of_store(options.store_dir)
    return ConsoleApp(site, SignIn(links, options.access), origins, PAGES, rendering, acts)
