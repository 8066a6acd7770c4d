"""Libraries that wrap scikit-learn, imported without it: LightGBM and river have such wrappers, and nothing here uses them.

Where scikit-learn is installed, as for the tests, it is half of their import: a second."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_scikit_learn() -> Iterator[None]:
    """While this is open there is no scikit-learn, unless it is imported already. A later import gets it."""
    if "sklearn" in sys.modules:
        yield
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment]  # the import system's way to say so
    try:
        yield
    finally:
        del sys.modules["sklearn"]
