"""What was observed of the variants: counters as scraped, and what they grew by between two looks. Pure.

Counters only grow; a replica that restarts has a new identity, so a counter that falls is a fault of measuring. operators.backends.evidence
reads them; operators.rollout.judging.judge interprets them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import Field

from operators.rollout.spec import GateName
from operators.values import Value

Count = Annotated[int, Field(ge=0)]


class Tally(Value):
    """Counters of one variant's revision, in one replica or summed. All evidence is of the split and the mirror; requests that
    asked for a variant by name are not in it."""

    requests: Count = 0
    """Requests the split sent here (errors included)."""
    bad: Mapping[GateName, Count] = Field(default_factory=dict)
    """Of `requests`: errors, latency. Of `rows`: degraded, alertRate."""
    rows: Count = 0
    """Number of answered rows."""
    entities: Count = 0
    """Distinct entities since the weights last changed; each replica counts an entity once. When weights change, a replica forgets its
    entities, for all variants of the model. Where memory is bounded it thins all variants by the same hash. So between two changes new
    entities are split as the weights say; the test for sample-ratio mismatch relies on it."""
    entities_bad: Mapping[GateName, Count] = Field(default_factory=dict)
    """Of `entities`: those whose first request (row) was bad. One entity's requests are alike; its first is one observation."""
    mirrored: Count = 0
    """Number of mirrored requests that were scored."""
    mirrored_bad: Mapping[GateName, Count] = Field(default_factory=dict)
    """The same gates, of mirrored requests and rows."""
    mirrored_rows: Count = 0
    """Number of rows in mirrored requests."""
    pairs: Mapping[str, Count] = Field(default_factory=dict)
    """Mirrored rows that both scored, by `reference>candidate` verdict, e.g. `benign>alert`; on the candidate's tally."""
    scores: Mapping[str, Count] = Field(default_factory=dict)
    """Mirrored rows by upper edge of the score's bin (text of a float), on the candidate's tally; not cumulative."""
    segment_rows: Mapping[str, Count] = Field(default_factory=dict)
    """Live rows that got a verdict, by segment of their entity (`column=value`; `_all`: every row of a known entity)."""
    segment_alerts: Mapping[str, Count] = Field(default_factory=dict)
    """Rows of `segmentRows` with the verdict alert."""
    segment_entities: Mapping[str, Count] = Field(default_factory=dict)
    """Distinct entities of `entities`, by segment."""
    segment_entity_alerts: Mapping[str, Count] = Field(default_factory=dict)
    """Entities of `segmentEntities` whose first row alerted."""
    mirrored_segment_rows: Mapping[str, Count] = Field(default_factory=dict)
    """Mirrored rows that got a verdict, by segment."""
    mirrored_segment_alerts: Mapping[str, Count] = Field(default_factory=dict)
    """Rows of `mirroredSegmentRows` with the verdict alert."""
    labels: Mapping[GateName, tuple[Count, Count]] = Field(default_factory=dict)
    """Analysts' labels of events since the rollout began: (n, k) for precision and recall. Only labels that were given without bias belong
    here."""


class ReplicaEvidence(Value):
    """One replica's counters by revision digest and variant name."""

    replica: str
    """Its identity: new with every start."""
    loaded: tuple[str, ...] = ()
    """Revision digests that are loaded, probed and warm."""
    failed: Mapping[str, str] = Field(default_factory=dict)
    """Revision digests that it could not load, each with the reason."""
    holds: tuple[str, ...] | None = None
    """Variants this replica is meant to have; None: all of them (they share replicas)."""
    tallies: Mapping[str, Tally] = Field(default_factory=dict)
    """By `variant@revision`."""


class Observation(Value):
    """What one look at a service's replicas observed."""

    at: datetime
    """When the counters were read, UTC."""
    replicas: tuple[ReplicaEvidence, ...] = ()
    """The replicas that answered."""
    expected_replicas: int = 0
    """How many there are that should answer; fewer answered means the look is partial."""
    wanted_replicas: int | None = None
    """How many replicas are asked for, which may be more than there are; None: as many as expected."""
    expected_by_variant: Mapping[str, int] = Field(default_factory=dict)
    """The same by variant, where a variant has replicas of its own."""
    problem: str | None = None
    """Why some or all of the evidence could not be measured."""
    labels: Mapping[str, Mapping[GateName, tuple[Count, Count]]] | None = None
    """Analysts' labels of events answered since the rollout began, by `variant@revision`: (n, k) for precision and recall. None: nobody
    asked, or they could not be read; what was counted before stays. Only labels that were given without bias belong here."""


def key(variant: str, revision: str) -> str:
    """Name of a tally: variant and revision digest."""
    return f"{variant}@{revision}"
