"""A console that listens, in a thread of the test's process: people sign in with whatever roles a test gives them."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from operators.console.application import ConsoleApp
from operators.console.console_process import open_port
from operators.console.launch import ConsoleOptions, make_console
from operators.console.roles import ALL_ROLES, ConsoleRole, SignedInPerson
from operators.console.server import ConsoleServer
from operators.console.sessions import Session
from operators.console.sign_in import Links, keep_link_key
from operators.control.folder import ControlFolder
from operators.control.port import Control


@dataclass(frozen=True, slots=True)
class ServedConsole:
    """address: e.g. `http://127.0.0.1:PORT`. app: what is behind it, so a test can look at its sessions. links: makes one-time links."""

    address: str
    app: ConsoleApp
    links: Links
    store_dir: Path

    @property
    def cookie(self) -> str:
        return self.app.cookie

    def session(self, name: str = "ana", roles: frozenset[ConsoleRole] = ALL_ROLES, how: str = "key") -> Session:
        """A new session of a person; `how` `link` makes them the owner of the store."""
        return self.app.sessions.begin(SignedInPerson(name, roles, how))

    def client(self, session: Session | None = None, **options: Any) -> httpx.Client:
        """As a browser of this session sends its requests; without one nobody is signed in."""
        cookies = {} if session is None else {self.cookie: session.id}
        return httpx.Client(base_url=self.address, cookies=cookies, headers={"origin": self.address}, timeout=30, **options)


@contextlib.contextmanager
def served_console(
    store_dir: Path,
    *,
    control: Control | None = None,
    access: Path | None = None,
    acting_by: Callable[[str], Control] | None = None,
) -> Iterator[ServedConsole]:
    """A console of this store on a free port, while the block runs."""
    listener = open_port("127.0.0.1", 0)
    port = listener.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    links = keep_link_key(store_dir, address)
    options = ConsoleOptions(control or ControlFolder(store_dir), store_dir, access=access, acting_by=acting_by)
    app = make_console(options, port, None if access is not None else links)
    server = ConsoleServer(app.asgi(), listener)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), name="console", daemon=True)
    thread.start()
    try:
        yield ServedConsole(address, app, links, store_dir)
    finally:
        server.stop()
        thread.join(10)
        listener.close()
