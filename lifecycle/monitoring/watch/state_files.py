"""Files of the monitor's states: STORE/monitoring/states/MODEL.json, each replaced in one step.

One monitor watches a store: it holds a lock."""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lifecycle.monitoring.watch.model_state import ModelState, StateError, decode_state, encode_state
from serving.files.whole_files import write_whole

_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,126}[A-Za-z0-9])?")


class AnotherMonitor(Exception):
    """Another process watches this store."""


class StateFiles:
    """The states of one store. folder: STORE/monitoring."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def models(self) -> list[str]:
        """Models of which there is a state."""
        return sorted(path.stem for path in (self._folder / "states").glob("*.json") if not path.name.startswith("."))

    def read(self, model: str) -> ModelState:
        """The state of a model; a fresh one where there is none. Raises StateError, OSError."""
        path = self._path(model)
        return decode_state(path.read_bytes(), str(path)) if path.exists() else ModelState(model)

    def write(self, state: ModelState) -> None:
        """Keep a state; it is on the disk when this returns. A crash leaves this one or the one before. Raises OSError."""
        write_whole(self._path(state.model), encode_state(state))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the store's lock. Raises AnotherMonitor, OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._folder / ".monitor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AnotherMonitor(
                    f"{self._folder}: another `vedette monitor` watches this store; stop it, or see its findings with "
                    "`vedette monitor show`"
                ) from None
            yield
        finally:
            os.close(fd)

    def _path(self, model: str) -> Path:
        if not _NAME.fullmatch(model):
            raise StateError(f"{model!r} is not the name of a model")
        return self._folder / "states" / f"{model}.json"
