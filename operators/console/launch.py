"""Puts a console together and opens its port: where its objects are wired."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from operators.console.application import ConsoleApp
from operators.console.catalogue import PAGES
from operators.console.front_door import OwnOrigins
from operators.console.rendering import Rendering
from operators.console.sign_in import Links, SignIn
from operators.console.site import Site
from operators.control.port import Control

DEFAULT_PORT: Final = 8090
LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")
_BACKLOG: Final = 128


@dataclass(frozen=True, slots=True)
class ConsoleOptions:
    """How one console is reached and what it shows. names: host names that people use, beyond those of loopback. access: the access policy.

    base: path before every address. doors: addresses of replicas."""

    control: Control
    store_dir: Path | None
    names: tuple[str, ...] = ()
    base: str = ""
    access: Path | None = None
    doors: tuple[str, ...] = ()
    is_tls: bool = False


def open_port(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError if the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def make_console(options: ConsoleOptions, port: int, links: Links | None) -> ConsoleApp:
    """The console that listens on this port. Raises AccessPolicyError."""
    rendering = Rendering(PAGES)
    site = Site(options.control, options.store_dir, rendering.html, options.base, options.doors)
    origins = OwnOrigins.of((*LOOPBACK_NAMES, *options.names), port, is_tls=options.is_tls)
    return ConsoleApp(site, SignIn(links, options.access), origins, PAGES, rendering)
