"""The record of an answer for the prediction log. Core: makes it; serving.audit writes it."""

from collections.abc import Mapping
from typing import Any, Final

from numpy.typing import NDArray

from serving.audit.record import AuditRecord
from serving.models.processor import processor_family
from serving.scoring.row_group import RowGroup
from serving.scoring.triage.outcomes import words_of
from serving.scoring.variant_runner import RequestState

_PROCESSOR: Final = processor_family()
_SCORED: Final[Mapping[str, NDArray[Any]]] = {}
"""The record of a model with a score holds the scores, not the graph's outputs."""


def audit_record(state: RequestState, group: RowGroup, receipt: str, latency_s: float) -> AuditRecord:
    """One variant's record: of a request whose rows met several there are several, with one receipt."""
    revision, features, verdicts, request = group.variant.revision, group.features, group.verdicts, state.request
    inputs = {t.name: t for t in request.inputs}
    if group.index is not None:
        inputs = {name: tensor.take(group.index) for name, tensor in inputs.items()}
    return AuditRecord(
        receipt=receipt,
        time_us=state.now_us,
        door=request.door,
        model=revision.name,
        version=revision.version,
        revision=revision.digest,
        variant=revision.variant,
        source=group.source,
        request_id=request.id,
        trace_id=None if state.trace is None else state.trace.trace_id,
        rows=group.rows.rows,
        inputs=inputs,
        features=features.columns if features else {},
        event_times_us=features.event_times_us if features else {},
        operating_point=group.point,
        scores=verdicts.scores if verdicts else [],
        verdicts=verdicts.codes if verdicts else [],
        degraded=group.degraded,
        latency_us=int(latency_s * 1e6),
        row_numbers=group.index,
        rules=[list(ids) for ids in group.matched],
        fallback_from=group.fallback_from,
        processor=_PROCESSOR,
        personal=revision.personal,
        explained=state.explain,
        suppressed=group.suppressed,
        triage=() if group.triage is None else words_of(group.triage),
        outputs=group.raw if verdicts is None else _SCORED,
        caller=request.caller,
        tenant=request.caller_tenant,
        feature_sources=features.sources if features else (),
    )
