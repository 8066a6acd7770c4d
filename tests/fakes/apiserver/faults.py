"""Faults a test can order: errors, delays, answers that get lost, reads that lag, watches that break, a forgotten past.

`Faults` is set from the test's thread and read by the server; every order says which calls it meets and how often.
"""

import threading
from collections.abc import Callable
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
    """One order. `times` < 0 means until cleared; "" for verb, plural, subresource or user meets all."""

    verb: str = ""
    plural: str = ""
    subresource: str | None = None
    name: str = ""
    user: str = ""
    times: int = 1
    status: int = 0  # answer this instead of acting
    after: bool = False  # act first, then answer `status` (0: break the connection): the client cannot know
    delay_s: float = 0.0
    lag: int = 0  # reads: this many revisions old
    retry_after_s: int = 0
    when: Callable[[Call], bool] | None = None
    met: int = field(default=0)

    def meets(self, call: Call) -> bool:
        return (
            self.times != 0
            and (not self.verb or call.verb in self.verb.split(","))
            and (not self.plural or call.kind.plural == self.plural)
            and (self.subresource is None or call.subresource == self.subresource)
            and (not self.name or call.name == self.name)
            and (not self.user or call.user.name == self.user)
            and (self.when is None or self.when(call))
        )

    def refusal(self) -> Refused:
        more = {"retryAfterSeconds": self.retry_after_s} if self.retry_after_s else {}
        return Refused(self.status, _REASONS.get(self.status, ""), f"injected fault: {self.status}", more)


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

    def clear(self) -> None:
        with self._lock:
            self._orders.clear()

    def take(self, call: Call, *, lagging: bool = False) -> list[Fault]:
        """The orders that this call meets, each counted; those with a lag are read apart."""
        with self._lock:
            met = [fault for fault in self._orders if bool(fault.lag) == lagging and fault.meets(call)]
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
