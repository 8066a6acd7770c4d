"""The record of a bundle that a replica did not load: in the prediction log, where every replica has a signed chain of its own.

What a person brings and the command line refuses is in the log of governed acts; here a replica refuses what somebody has put into its
store. A bundle that is tried again and again leaves one record for each reason."""

import re
from collections.abc import Callable
from typing import Final

from serving.audit.record import REFUSED, AuditRecord, AuditSink, RecordedRefusal
from serving.loading.loader import Wanted
from serving.models.errors import ModelError, NoSuchModel, UntrustedBundle
from serving.models.processor import processor_family
from serving.scoring.loaded_revision import STABLE

DOOR: Final = "load"
MOST_RECORDS: Final = 1000
"""Records of one process. Who can write to the store could otherwise fill the log with bundles; further ones are in the process's log."""
_MOST_WORDS: Final = 1500
_DIGITS: Final = re.compile(r"(?<![0-9a-zA-Z])[0-9][0-9.]*")


class RefusedBundles:
    """Records refusals, each once.

    audit: None where nothing is recorded. identity: of the process. now_us: microseconds since the epoch."""

    def __init__(self, audit: AuditSink | None, *, identity: str, now_us: Callable[[], int]) -> None:
        self._audit, self._identity, self._now_us = audit, identity, now_us
        self._recorded = set[tuple[str, str, str]]()

    def __call__(self, wanted: Wanted, problem: Exception, reason: str) -> None:
        """Record that a bundle was refused, unless that is recorded already. Other problems, as a disk that cannot be read, are no refusal.

        Returns at once and never raises: the writer of the log has a thread of its own."""
        if self._audit is None or not isinstance(problem, ModelError) or isinstance(problem, NoSuchModel):
            return
        if len(self._recorded) >= MOST_RECORDS:
            return
        bundle = wanted.revision.bundle
        key = (wanted.name, bundle, _DIGITS.sub("N", reason))  # figures that were measured differ at each attempt
        if key in self._recorded:
            return
        self._recorded.add(key)
        self._audit.append(
            AuditRecord(
                receipt=f"{self._identity}-refused-{len(self._recorded)}",
                time_us=self._now_us(),
                door=DOOR,
                model=wanted.name,
                version=wanted.version,
                revision=wanted.revision.digest,
                variant=STABLE,
                source=REFUSED,
                request_id=None,
                trace_id=None,
                rows=0,
                inputs={},
                features={},
                event_times_us={},
                operating_point=None,
                scores=[],
                verdicts=[],
                degraded=[],
                latency_us=0,
                processor=processor_family(),
                refusal=RecordedRefusal(
                    bundle=bundle,
                    kind="unsigned" if isinstance(problem, UntrustedBundle) else "refused",
                    reason=reason[:_MOST_WORDS],
                ),
            )
        )
