"""Faults a test can order: errors, answers that get lost, watches that break, a forgotten past.

`Faults` is set from the test's thread and read by the server; every order says which calls it meets and how often.
"""

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.fakes.apiserver.failures import Refused
from tests.fakes.apiserver.storing.objects import Call

if TYPE_CHECKING:
    from tests.fakes.apiserver.server import ApiServer

_REASONS = {
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
    409: "Conflict",
    401: "Unauthorized",
    403: "Forbidden",
}


@dataclass
class Fault:
    """One order. "" for verb or plural, and None for subresource, meet all."""

    verb: str = ""
    plural: str = ""
    subresource: str | None = None
    times: int = 1
    status: int = 0  # answer this instead of acting
    after: bool = False  # act first, then answer `status` (0: break the connection): the client cannot know
    met: int = field(default=0)

    def meets(self, call: Call) -> bool:
        return (
            self.times != 0
            and (not self.verb or call.verb in self.verb.split(","))
            and (not self.plural or call.kind.plural == self.plural)
            and (self.subresource is None or call.subresource == self.subresource)
        )

    def refusal(self) -> Refused:
        return Refused(self.status, _REASONS.get(self.status, ""), f"injected fault: {self.status}")


class Faults:
    """The orders of one server; thread-safe."""

    def __init__(self, server: "ApiServer") -> None:
        self._server, self._lock = server, threading.Lock()
        self._orders: list[Fault] = []

    def order(self, **what: object) -> Fault:
        """E.g. order(verb="patch", plural="modelservices", status=500, times=3). The answer counts in `met`."""
        fault = Fault(**what)  # type: ignore[arg-type]
        with self._lock:
            self._orders.append(fault)
        return fault

    def take(self, call: Call) -> list[Fault]:
        """The orders that this call meets, each counted."""
        with self._lock:
            met = [fault for fault in self._orders if fault.meets(call)]
            for fault in met:
                fault.met += 1
                fault.times -= 1
            return met

    def drop_watches(self, plural: str = "") -> int:
        """End open watches (all, or of one plural) as a broken connection would; answers how many."""
        return self._server.run(self._drop, plural)

    def _drop(self, plural: str) -> int:
        store, kinds = self._server.store, self._server.kinds
        resources = {kind.resource for kind in kinds.all() if kind.plural == plural}
        return sum(store.drop_watches(one) for one in resources) if plural else store.drop_watches()

    def forget_history(self) -> None:
        """Watches and continued lists from before now are answered 410."""
        self._server.run(self._server.store.forget)
        self._server.run(self._server.reader.forget_pages)
