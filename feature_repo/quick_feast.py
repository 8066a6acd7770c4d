"""Imports Feast in a third of the time, without the type checks that Feast compiles into its own classes.

Feast marks its classes with typeguard's `typechecked`, which parses and compiles their sources again at every import: 2.5 of 3.8 seconds
of processor time. `python -O` leaves the checks out, and so does this module. The checks would cover the declarations of `feature_repo`,
whose values are validated before."""

import importlib
import sys
from typing import Any


def load() -> None:
    """Import Feast, unless it is imported already. Call it before the first `import feast` of a process."""
    if "feast.feature_store" in sys.modules:
        return
    try:
        typeguard: Any = importlib.import_module("typeguard")
    except ImportError:  # a Feast that does without it
        importlib.import_module("feast")
        return
    checked, typeguard.typechecked = typeguard.typechecked, _unchecked
    try:
        importlib.import_module("feast")
        importlib.import_module("feast.infra.online_stores.sqlite")  # loaded later, and checked as well
    finally:
        typeguard.typechecked = checked


def _unchecked(target: Any = None, **_: Any) -> Any:
    """Stands in for `typechecked`, with or without arguments."""
    return _unchecked if target is None else target
