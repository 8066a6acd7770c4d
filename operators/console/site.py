"""What every page of one console shares: the control plane, the store, the clock, the addresses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from operators.control.port import Control


def _utc() -> datetime:
    return datetime.now(UTC)


@runtime_checkable
class KeptOpen(Protocol):
    """What a page keeps that has to be closed, e.g. a connection."""

    def close(self) -> None:
        """Let go of it. Pages may still be under way."""
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """See the module. store_dir: None where a cluster is shown and no store is mounted. base: path before every address, e.g. `/vedette`.

    services: the doors' addresses, for pages that ask replicas; e.g. `http://127.0.0.1:8080`."""

    control: Control
    store_dir: Path | None
    fragment_of: Callable[[str, Mapping[str, Any]], str]
    base: str = ""
    doors: tuple[str, ...] = ()
    acting_by: Callable[[str], Control] | None = None
    """In a cluster with an access policy: the control plane as the user of this token reaches it. None: the store's owner acts, or the
    person at the kubeconfig."""
    clock: Callable[[], datetime] = _utc
    kept: dict[str, Any] = field(default_factory=dict)
    """What a page keeps between requests, by a name of its own (e.g. an index); bounded by the page."""

    @property
    def now(self) -> datetime:
        """The time, UTC."""
        return self.clock()

    def close(self) -> None:
        """Close what pages keep: the console has ended."""
        for kept in list(self.kept.values()):
            if isinstance(kept, KeptOpen):
                kept.close()

    def url(self, path: str) -> str:
        """The address of a path of the console. Raises ValueError for anything that could lead elsewhere."""
        if not path.startswith("/") or path.startswith("//") or "\\" in path or any(ord(c) < 33 for c in path):
            raise ValueError(f"not a path of the console: {path[:80]!r}")
        return f"{self.base}{path}"

    def fragment(self, template: str, /, **values: Any) -> str:
        """A part of a page: the same for all viewers."""
        return self.fragment_of(template, {"site": self, "now": self.now, "url": self.url, **values})
