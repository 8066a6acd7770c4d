"""Which tests stay on one worker where several workers run side by side (`make test-servers`).

Tests of one file stay together, because they share its fixtures. Tests that share a server stay together too, whatever file they are
in, so that the server starts once. The groups that take longest are handed out first: no worker is left with one at the end."""

from collections.abc import Sequence
from typing import Final

import pytest

REAL_API: Final = "a real API server"
VEDETTE: Final = "the shared vedette up"
LONGEST_FIRST: Final = (REAL_API, VEDETTE)
"""Groups that take minutes. The others follow in the order in which they were collected."""


def assign(items: list[pytest.Item]) -> None:
    """Mark each test with its group, as `--dist loadgroup` reads it, and put those of the long groups first."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(group_of(item)))
    items.sort(key=_place)


def group_of(item: pytest.Item) -> str:
    """The group of a test, by the fixtures that it asks for; else its file."""
    callspec = getattr(item, "callspec", None)
    if callspec is not None and callspec.params.get("api_server") == "real":
        return REAL_API
    if "vedette" in getattr(item, "fixturenames", ()):
        return VEDETTE
    return item.nodeid.partition("::")[0]


def without_group(nodeid: str) -> str:
    """A test's name as one types it; xdist puts the group behind it."""
    return nodeid.rpartition("@")[0]


def _place(item: pytest.Item) -> int:
    marker = item.get_closest_marker("xdist_group")
    name = marker.args[0] if marker is not None else ""
    names: Sequence[str] = LONGEST_FIRST
    return names.index(name) if name in names else len(names)
