"""The alert budget: the candidate's threshold at which both variants alert equally often. Pure.

A better model at the old threshold may alert more, or less: that compares thresholds, not models. On mirrored rows, which both scored,
stable's alerts are counted and the candidate's scores are binned; the threshold is the bin edge where the candidate alerts as often.
Threshold edges are exact: a bin holds what is below its edge and at or over the one before it."""

import math
from dataclasses import dataclass

from operators.rollout.evidence import Tally
from operators.rollout.spec import AlertBudget


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The candidate's threshold at equal alerts. threshold: rows scored at or over it alert; None: it cannot be set, or not yet. rows:
    mirrored rows behind it. stable_alerts,
    candidate_alerts: what each spends on them. reason: for people."""

    threshold: float | None
    rows: int
    stable_alerts: int
    candidate_alerts: int
    reason: str

    @property
    def difference(self) -> float:
        """The candidate's alerts over stable's, less 1."""
        return self.candidate_alerts / self.stable_alerts - 1 if self.stable_alerts else math.inf


def calibrate(budget: AlertBudget, tally: Tally) -> Calibrated:
    """The threshold that spends stable's alerts. tally: the candidate's, with its mirrored pairs and scores.

    With A alerts the attainable differences are 1/A apart, so it waits until A is at least 1 / tolerance."""
    rows = sum(tally.pairs.values())
    spent = sum(count for name, count in tally.pairs.items() if name.startswith("alert>"))
    if rows < budget.min_requests:
        return Calibrated(
            None, rows, spent, 0, f"{rows:,} of {budget.min_requests:,} mirrored rows seen (alertBudget.minRequests)"
        )
    needed = math.ceil(1 / budget.tolerance)
    if spent < needed:
        why = f"stable alerted on {spent:,} of {rows:,} mirrored rows; a tolerance of {budget.tolerance:g} needs at least {needed:,} alerts"
        return Calibrated(None, rows, spent, 0, f"{why}: wait for more traffic or raise alertBudget.tolerance")
    edges = _alerts_by_edge(tally)
    if not edges:
        return Calibrated(
            None,
            rows,
            spent,
            0,
            "no mirrored scores were counted: the replicas report no score bins, or too many replicas to fit the status",
        )
    nearest = min(abs(alerts - spent) for _, alerts in edges)
    run = [(edge, alerts) for edge, alerts in edges if abs(alerts - spent) == nearest]
    alerts = max(a for _, a in run)  # of two equally near edges, the one with more alerts
    alike = [edge for edge, a in run if a == alerts]
    found = Calibrated(alike[len(alike) // 2], rows, spent, alerts, "")
    per = f"at {found.threshold:g} it alerts on {alerts:,} of {rows:,} mirrored rows, stable on {spent:,} ({found.difference:+.1%})"
    if abs(found.difference) > budget.tolerance:
        why = f"no threshold gives stable's number of alerts within {budget.tolerance:g}: the nearest, {per}"
        return Calibrated(
            None, rows, spent, alerts, f"{why}; the candidate's scores are too coarse there: raise alertBudget.tolerance"
        )
    return Calibrated(found.threshold, rows, spent, alerts, f"{per}; tolerance {budget.tolerance:.0%}")


def _alerts_by_edge(tally: Tally) -> list[tuple[float, int]]:
    """(threshold, rows scored at or over it) for every finite edge that is known, falling."""
    known = sorted(((float(name), count) for name, count in tally.scores.items()), reverse=True)
    above, edges = 0, list[tuple[float, int]]()
    for edge, count in known:
        if math.isfinite(edge):
            edges.append((edge, above))
        above += count
    return edges
