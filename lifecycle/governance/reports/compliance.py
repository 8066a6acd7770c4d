"""A compliance report on a span of time: which revisions answered, who decided what, and whether the logs are sound. Pure.

It says what is recorded here. An auditor judges whether that meets SOX, HIPAA or ISO 27001."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from lifecycle.documents.document import Document, Grid, Section
from lifecycle.governance.acts import Act, is_about
from lifecycle.governance.lineage.facts import AnswersFact, BundleFact, RolloutFact, short
from lifecycle.governance.reports.model_card import act_record, acts_section, rollout_record
from lifecycle.governance.reports.moments import microseconds, when, when_iso
from lifecycle.governance.verify.findings import Report

_APPROVALS = ("rollout.approve", "rollout.reject")
_BREAK_GLASS = "rollout.break-glass"


@dataclass(frozen=True, slots=True)
class ComplianceFacts:
    """What the report is made of.

    first_us, last_us: the span, both ends included, microseconds since the epoch. model: report only this one; None: all. The report on
    one model lists the acts about its services and bundles; acts about people, keys and single records belong to no model."""

    first_us: int
    last_us: int
    model: str | None
    answers: tuple[AnswersFact, ...]
    acts: tuple[Act, ...]
    rollouts: tuple[RolloutFact, ...]
    bundles: tuple[BundleFact, ...]
    reports: tuple[Report, ...]


def compliance_report(facts: ComplianceFacts) -> Document:
    """The report on one span of time."""
    bundles = {b.digest for b in facts.bundles if b.manifest.name == facts.model}
    acts = [a for a in facts.acts if facts.first_us <= a.time_us <= facts.last_us]
    acts = acts if facts.model is None else [a for a in acts if is_about(a, {facts.model}, bundles)]
    answers = [a for a in facts.answers if facts.model in (None, a.model)]
    rollouts = [r for r in facts.rollouts if facts.model in (None, r.service) and _is_within(r, facts)]
    refused = [a for a in acts if a.outcome != "accepted"]
    approvals = [a for a in acts if a.action in _APPROVALS and a not in refused]
    urgent = [a for a in acts if a.action == _BREAK_GLASS and a not in refused]
    others = [a for a in acts if a not in refused and a not in approvals and a not in urgent]
    about = f"From {when(facts.first_us)} to {when(facts.last_us)}, {facts.model or 'all models'}."
    sections = (
        _soundness(facts.reports),
        _answers(answers, facts.bundles),
        acts_section("Approvals", approvals),
        acts_section("Emergency approvals (break-glass)", urgent),
        acts_section("Refused acts", refused),
        acts_section("Other governed acts", others),
        _rollouts(rollouts),
    )
    record = {
        "first_us": facts.first_us,
        "last_us": facts.last_us,
        "model": facts.model,
        "is_sound": all(report.is_sound for report in facts.reports),
        "logs": [asdict(report) for report in facts.reports],
        "answers": [asdict(a) for a in answers],
        "acts": [act_record(a) for a in acts],
        "rollouts": [rollout_record(r) for r in rollouts],
    }
    return Document("Compliance report", about, sections, record)


def _soundness(reports: Sequence[Report]) -> Section:
    """Whether the logs are as they were written. It comes first because the rest of the report relies on it."""
    rows, found = [], []
    for report in reports:
        for log in report.logs:
            counts = (log.segments, log.records, log.protected, log.unprotected, log.removed, log.checkpoints)
            rows.append((log.log, *(f"{count:,}" for count in counts)))
        found += [f"{finding.kind}: {finding.place}: {finding.what}" for finding in report.findings]
    text = [f"NOT SOUND. {problem}" for problem in found]
    text = text or (["Sound: every record below a signed checkpoint is as it was written."] if rows else [])
    columns = ("log", "segments", "records", "protected", "not yet protected", "removed with tombstone", "checkpoints")
    return Section("Soundness of the logs", tuple(text), grid=Grid(columns, tuple(rows)), empty="There is no log to verify.")


def _answers(answers: Sequence[AnswersFact], bundles: Sequence[BundleFact]) -> Section:
    data = {(b.manifest.name, b.manifest.version): _data_of(b) for b in bundles}
    rows = tuple(
        (
            a.model,
            a.version,
            short(a.revision),
            f"{a.records:,}",
            when(a.first_us),
            when(a.last_us),
            data.get((a.model, a.version), "bundle not here"),
        )
        for a in answers
    )
    columns = ("model", "version", "revision", "answers", "first", "last", "training data")
    return Section("Answers by revision", grid=Grid(columns, rows), empty="No answer is recorded in this span.")


def _data_of(bundle: BundleFact) -> str:
    lineage = bundle.manifest.lineage
    return short(lineage.data_digest) if lineage else "made elsewhere"


def _is_within(rollout: RolloutFact, facts: ComplianceFacts) -> bool:
    """Whether a rollout was under way in the span. A rollout with unknown times counts."""
    began, ended = microseconds(rollout.started), microseconds(rollout.ended or "")
    return (began is None or began <= facts.last_us) and (ended is None or ended >= facts.first_us)


def _rollouts(rollouts: Sequence[RolloutFact]) -> Section:
    rows = tuple(
        (r.service, str(r.number), when_iso(r.started), when_iso(r.ended or "-"), r.outcome, r.by, r.reason) for r in rollouts
    )
    columns = ("service", "number", "started", "ended", "outcome", "by", "why")
    return Section("Rollouts and experiments", grid=Grid(columns, rows), empty="None are recorded.")
