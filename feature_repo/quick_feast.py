"""Imports Feast in a third of the time, and without its effects on the process.

Feast marks its classes with typeguard's `typechecked`, which parses and compiles their sources again at every import: 2.5 of 3.8 seconds
of processor time. `python -O` leaves the checks out, and so does this module. The checks would cover the declarations of `feature_repo`,
whose values are validated before.

Feast also tells the client of Prometheus to keep all metrics of the process in files of a new folder, and says so in the environment,
so that processes started later (Ray's, of `vedette up`) do the same. The client is imported before, and the environment restored."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

_METRICS_IN_FILES: Final = ("PROMETHEUS_MULTIPROCESS_DIR", "PROMETHEUS_MULTIPROC_DIR")


def load() -> None:
    """Import Feast, unless it is imported already. Call it before the first `import feast` of a process."""
    if "feast.feature_store" in sys.modules:
        return
    with _metrics_in_memory(), _without_checks():
        importlib.import_module("feast")
        importlib.import_module("feast.infra.online_stores.sqlite")  # loaded later, and checked as well


@contextmanager
def _without_checks() -> Iterator[None]:
    try:
        typeguard: Any = importlib.import_module("typeguard")
    except ImportError:  # a Feast that does without it
        yield
        return
    checked, typeguard.typechecked = typeguard.typechecked, _unchecked
    try:
        yield
    finally:
        typeguard.typechecked = checked


@contextmanager
def _metrics_in_memory() -> Iterator[None]:
    before = {name: os.environ[name] for name in _METRICS_IN_FILES if name in os.environ}
    with suppress(ImportError):  # a Feast that does without it
        importlib.import_module("prometheus_client.values")  # it looks at the environment once
    try:
        yield
    finally:
        for name in _METRICS_IN_FILES:
            os.environ.pop(name, None)
        os.environ.update(before)


def _unchecked(target: Any = None, **_: Any) -> Any:
    """Stands in for `typechecked`, with or without arguments."""
    return _unchecked if target is None else target
