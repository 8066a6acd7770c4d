"""Pages of replicas -> their samples at one moment. Pure: operators.control.figures.pages asks for the pages."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from operators.backends.exposition import ExpositionError, PageReader, ReplicaPage
from operators.telemetry.monitor_names import OPEN as DRIFT_OPEN
from serving.telemetry.names import (
    AUDIT,
    AUDIT_FAILING,
    AUDIT_LAG,
    AUDIT_SIGNED,
    BREAKER_STATE,
    DEGRADED,
    FEATURE_AGE,
    MODEL_INFO,
    ONGOING,
    REFUSALS,
    REQUESTS,
    ROWS,
    SECONDS,
    START,
    VERDICT,
)

READ: Final = frozenset(
    name
    for doc in (
        *(AUDIT, AUDIT_FAILING, AUDIT_LAG, AUDIT_SIGNED, BREAKER_STATE, DEGRADED, DRIFT_OPEN, FEATURE_AGE, MODEL_INFO, ONGOING),
        *(REFUSALS, REQUESTS, ROWS, SECONDS, START, VERDICT),
    )
    for name in doc.exposed
    if not name.endswith("_sum")
)
"""Names of the series that are read."""

SeriesKey = tuple[str, str, tuple[tuple[str, str], ...]]
"""(replica, name of the series, its other labels in order)."""


@dataclass(frozen=True, slots=True)
class MetricsScrape:
    """Samples of all pages of one look. at: when, UTC. away: what is wrong with each address that gave no page."""

    at: datetime
    values: Mapping[SeriesKey, float] = field(default_factory=dict)
    away: tuple[str, ...] = ()

    @property
    def replicas(self) -> frozenset[str]:
        """Identities of the replicas that answered."""
        return frozenset(replica for replica, name, _ in self.values if name == START.name)


def read_scrape(pages: Iterable[ReplicaPage], at: datetime) -> MetricsScrape:
    """The samples of the pages. A page that is not in Prometheus' text format counts as away. A series that comes twice (two pages that
    speak for one replica) counts once, at its larger value. Values that are negative or no numbers are left out. Never raises.

    >>> from datetime import UTC
    >>> page = ReplicaPage("http://a", 'vedette_start_time_seconds{replica="r"} 5\\n')
    >>> read_scrape([page, ReplicaPage("http://b", problem="silent")], datetime(2026, 1, 1, tzinfo=UTC)).away
    ('silent',)
    """
    values: dict[SeriesKey, float] = {}
    away: list[str] = []
    for page in pages:
        if page.text is None:
            away.append(page.problem or f"{page.address}: no answer")
            continue
        try:
            samples = PageReader(READ).read(page.text)
        except ExpositionError as damaged:
            away.append(f"{page.address}: its metrics are not readable: {damaged}")
            continue
        for (name, labels), value in samples:
            if 0 <= value < float("inf"):
                own = tuple(sorted((label, text) for label, text in labels.items() if label != "replica"))
                key = labels.get("replica", page.address), name, own
                values[key] = max(value, values.get(key, 0.0))
    return MetricsScrape(at, values, tuple(away))
