"""The record of a hit of a correlation: the prediction log has the same content as the verdict topic. Pure.

A hit is no answer of the model: its record has its own receipt and source, and counts of answers leave it out. It is written
with the records of the batch's answers, before the batch is committed; a batch that is rolled back and scored again has both again."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from serving.audit.record import AuditRecord, RecordedHit
from serving.messages import Tensor
from serving.models.manifest import Manifest
from serving.models.processor import processor_family
from serving.stream.answers import ScoredEvents
from serving.stream.encoding import WORDS, with_hits
from serving.stream.state import RuleHit

SOURCE: Final = "correlation"
"""The source of such a record."""
_DOOR: Final = "kafka"


def hit_records(one: ScoredEvents, hits: Mapping[int, Sequence[RuleHit]], manifest: Manifest, now_us: int) -> list[AuditRecord]:
    """The records of the hits on these events. hits: by row of the part that the events are of."""
    found = []
    for row in range(len(one.events.records)):
        own = hits.get(one.first + row, ())
        at = one.first_row + row
        for number, hit in enumerate(own):
            found.append(_record(one, row, at, number, hit, own, manifest, now_us))
    return found


def _record(
    one: ScoredEvents,
    row: int,
    at: int,
    number: int,
    hit: RuleHit,
    own: Sequence[RuleHit],
    manifest: Manifest,
    now_us: int,
) -> AuditRecord:
    answers, columns = one.answers, one.events.columns
    variant, version, revision, source, point = answers.variants[at]
    word, _, _ = with_hits(WORDS[answers.verdicts[at]], source, (), own)
    return AuditRecord(
        receipt=f"{answers.receipt}-{at}-{number}",
        time_us=now_us,
        door=_DOOR,
        model=manifest.name,
        version=version,
        revision=revision,
        variant=variant,
        source=SOURCE,
        request_id=None,
        trace_id=answers.trace_id,
        rows=1,
        inputs={key.name: Tensor(key.name, key.datatype, columns[key.name][row : row + 1]) for key in manifest.entity_keys},
        features={},
        event_times_us={},
        operating_point=point,
        scores=[],
        verdicts=[word],
        degraded=np.zeros(1, dtype=np.bool_),
        latency_us=0,
        rules=[[hit.rule]],
        processor=processor_family(),
        personal=dict(manifest.personal),
        correlation=RecordedHit(
            rule=hit.rule,
            title=hit.title,
            severity=hit.severity,
            raises=hit.verdict,
            techniques=hit.techniques,
            event=one.events.records[row].id,
            events=hit.events,
            receipt=answers.receipt,
            row=at,
        ),
    )
