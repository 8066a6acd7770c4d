"""Security events of the doors: counts by bounded words, and a log line for each refusal, at a bounded rate.

A line says when, why, what was asked, who (if that is verified), from which address and over which door. It never holds what a client sent:
no header, no path, no model. Refusals are log lines and not acts of a chained log, because strangers cause them: anyone could make a chain
grow. Acts of people (a key that is made or revoked) are in the log of acts."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from serving.access.credentials import Caller
from serving.access.rate_limits import Bucket
from serving.access.refusals import RefusalReason
from serving.access.verbs import Verb
from serving.telemetry.access_names import ADMITTED, LIMITED, REFUSED, ROWS, VERIFICATIONS
from serving.telemetry.metric_doc import MetricDoc

LINES_PER_S: Final = 5.0
BURST_S: Final = 10.0
METHODS: Final = ("token", "key", "certificate")
"""How callers show who they are."""
_NO_VERB: Final = "none"
_REFUSALS: Final = [(reason.value, verb) for reason in RefusalReason for verb in (*(v.value for v in Verb), _NO_VERB)]
"""All that is counted, from 0 on: `increase()` does not see what a counter has when it appears."""
_log = logging.getLogger("vedette.security")


class AccessEvents:
    """Counts, and writes lines. now_s: a clock that never goes back. Touched on the doors' loop; read in a thread."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._lines = Bucket(LINES_PER_S, BURST_S, now_s())
        self._unwritten = 0
        self._refused = Counter[tuple[str, str]](dict.fromkeys(_REFUSALS, 0))
        self._limited = Counter[tuple[str]]()
        self._admitted: dict[tuple[str, str], int] = {}
        self._rows: dict[tuple[str], int] = {}
        self._verified = Counter[tuple[str, str]](
            {(method, outcome): 0 for method in METHODS for outcome in ("accepted", "refused")}
        )

    def admitted(self, tenant: str, verb: Verb) -> None:
        """Count a request that was let in. tenant: of the policy, so there are few."""
        key = (tenant, verb.value)
        self._admitted[key] = self._admitted.get(key, 0) + 1

    def rows(self, tenant: str, rows: int) -> None:
        """Count the rows of a request that was let in."""
        self._rows[(tenant,)] = self._rows.get((tenant,), 0) + rows

    def verified(self, method: str, *, is_good: bool) -> None:
        """Count credentials that were verified and not found in the memory of earlier ones."""
        self._verified[method, "accepted" if is_good else "refused"] += 1

    def refused(self, reason: RefusalReason, verb: Verb | None, caller: Caller, address: str, door: str) -> None:
        """Count a refusal, and write a line unless there are too many."""
        named = verb.value if verb is not None else _NO_VERB
        self._refused[reason.value, named] += 1
        if reason is RefusalReason.RATE:
            self._limited[(caller.tenant,)] += 1
        if self._lines.take(1.0, self._now_s()):
            self._unwritten += 1
            return
        more, self._unwritten = self._unwritten, 0
        _log.warning(
            "refused: reason=%s verb=%s caller=%r tenant=%r address=%s door=%s%s",
            reason.value,
            named,
            caller.name,
            caller.tenant,
            address or "unknown",
            door,
            f" ({more} more refusals were not written)" if more else "",
        )

    def metrics(self) -> Iterator[tuple[MetricDoc, Mapping[tuple[str, ...], float]]]:
        """A telemetry.metrics.MetricSource."""
        yield ADMITTED, {key: float(n) for key, n in self._admitted.copy().items()}
        yield REFUSED, {key: float(n) for key, n in self._refused.copy().items()}
        yield LIMITED, {key: float(n) for key, n in self._limited.copy().items()}
        yield ROWS, {key: float(n) for key, n in self._rows.copy().items()}
        yield VERIFICATIONS, {key: float(n) for key, n in self._verified.copy().items()}
