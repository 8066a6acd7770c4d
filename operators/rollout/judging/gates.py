"""Which evidence feeds which gate: from tallies to counts of observations and bad events. Pure.

| gate | live: candidate next to stable | mirrored |
|---|---|---|
| errors, latency | requests | the mirrored requests, next to stable's own |
| degraded | rows | the mirrored rows, next to stable's own |
| alertRate | rows | pairs: rows where only one of both alerts |
| flips | - | pairs: rows with different verdicts |
| precision, recall | labels, by the event's variant | - |
| fairness | rows by segment (judging.segment_streams) | the mirrored rows by segment, next to stable's own |

With unit `entity` only live evidence counts, by each entity's first request: pairs do not tell entities apart."""

from operators.rollout.evidence import Tally
from operators.rollout.judging.eprocess import Counts
from operators.rollout.judging.paired import Pairs
from operators.rollout.spec import Gate, GateName

LABELLED = (GateName.PRECISION, GateName.RECALL)
_OF_ROWS = (GateName.DEGRADED, GateName.ALERT_RATE, GateName.FAIRNESS)
_SEVERITY = {"benign": 0, "investigate": 1, "unknown": 1, "alert": 2}

BAD = {
    GateName.ERRORS: "failed",
    GateName.LATENCY: "too slow",
    GateName.DEGRADED: "degraded",
    GateName.ALERT_RATE: "alerts",
    GateName.FLIPS: "with another verdict than stable's",
    GateName.PRECISION: "false positives",
    GateName.RECALL: "missed",
    GateName.FAIRNESS: "alerts",
}
"""The bad event, in words."""


def noun(gate: Gate) -> str:
    """What one observation is, in words."""
    if gate.name is GateName.PRECISION:
        return "labelled alerts"
    if gate.name is GateName.RECALL:
        return "labelled attacks"
    if gate.name is GateName.FLIPS:
        return "mirrored rows"
    if gate.unit == "entity":
        return "entities"
    return "rows" if gate.name in _OF_ROWS else "requests"


def live(tally: Tally, gate: Gate) -> Counts:
    """A variant's own traffic. k never exceeds n: a scrape may catch a request between its two counters."""
    if gate.name in LABELLED:
        n, k = tally.labels.get(gate.name, (0, 0))
    elif gate.name is GateName.FLIPS:
        n, k = 0, 0
    elif gate.unit == "entity":
        n, k = tally.entities, tally.entities_bad.get(gate.name, 0)
    elif gate.name is GateName.FAIRNESS:
        n, k = tally.rows, tally.bad.get(GateName.ALERT_RATE, 0)
    else:
        n, k = tally.rows if gate.name in _OF_ROWS else tally.requests, tally.bad.get(gate.name, 0)
    return Counts(n=n, k=min(n, k))


def mirrored(tally: Tally, gate: Gate) -> Counts:
    """The candidate's mirrored requests or rows; none for gates that are judged by pairs or by labels."""
    if is_paired(gate) or gate.name in LABELLED or gate.unit == "entity":
        return Counts()
    n = tally.mirrored_rows if gate.name in _OF_ROWS else tally.mirrored
    return Counts(n=n, k=min(n, tally.mirrored_bad.get(gate.name, 0)))


def is_paired(gate: Gate) -> bool:
    """Whether its mirrored evidence is of pairs."""
    return gate.name is GateName.FLIPS or (gate.name is GateName.ALERT_RATE and gate.unit == "request")


def pairs(tally: Tally, gate: Gate) -> Pairs:
    """The candidate's mirrored pairs: for alertRate +1 where only the candidate alerts and -1 where only stable does; for flips
    +1 where the candidate is more severe and -1 where it is less."""
    n = up = down = 0
    for name, count in tally.pairs.items():
        reference, _, candidate = name.partition(">")
        n += count
        a, b = _SEVERITY.get(reference, 0), _SEVERITY.get(candidate, 0)
        if gate.name is GateName.ALERT_RATE:
            a, b = int(a == _SEVERITY["alert"]), int(b == _SEVERITY["alert"])
        up += count if b > a else 0
        down += count if b < a else 0
    return Pairs(n=n, up=up, down=down)


def requests_per(tally: Tally, gate: Gate) -> float:
    """Candidate requests behind each observation of the gate, as seen so far; 1 where nothing was seen."""
    live_n, seen = live(tally, gate).n, tally.requests
    if gate.name is GateName.FLIPS or (live_n == 0 and tally.mirrored):
        seen = tally.mirrored
        live_n = pairs(tally, gate).n if is_paired(gate) else mirrored(tally, gate).n
    return max(seen, 1) / live_n if live_n and seen else 1.0
