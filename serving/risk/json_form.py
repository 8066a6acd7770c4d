"""A risk as JSON: what `vedette risk --json`, GET /v2/risk/ENTITY and the topic of risks say. A public form, versioned by `schema`."""

from datetime import UTC, datetime
from typing import Any, Final

import orjson

from serving.risk.assess import Risk, RiskPart
from serving.risk.signal import PendingCheck

RISK_SCHEMA: Final = "vedette.risk/1"


def risk_as_record(risk: Risk) -> dict[str, Any]:
    """JSON-able. Times are RFC 3339, UTC; `log_odds` of the parts and of the prior add up to the log-odds of the risk."""
    return {
        "schema": RISK_SCHEMA,
        "entity": risk.entity,
        "at": _moment(risk.at_us),
        "risk": round(risk.risk, 6),
        "level": risk.level,
        "complete": risk.is_complete,
        "missing": list(risk.missing),
        "pending": [_check(check) for check in risk.pending],
        "overdue": [_check(check) for check in risk.overdue],
        "prior": risk.prior,
        "parts": [_part(part) for part in risk.parts],
        "changes": [
            {
                "at": _moment(change.at_us),
                "before": round(change.before, 6),
                "after": round(change.after, 6),
                "because": change.because,
                "late_s": round(change.late_s, 3),
            }
            for change in risk.changes
        ],
        "rules": risk.rules_digest,
    }


def risk_as_json(risk: Risk) -> bytes:
    """The same as bytes."""
    return orjson.dumps(risk_as_record(risk))


def _part(part: RiskPart) -> dict[str, Any]:
    signal = part.signal
    record: dict[str, Any] = {
        "kind": signal.kind,
        "name": signal.name,
        "probability": round(signal.probability, 6),
        "log_odds": round(part.log_odds, 4),
        "event_time": _moment(signal.at_us),
        "age_s": round(part.age_s, 3),
        "id": signal.id,
    }
    known = (("revision", signal.revision), ("receipt", signal.receipt), ("row", signal.row))
    record.update((name, value) for name, value in known if value is not None)
    if signal.reasons:
        record["reasons"] = list(signal.reasons)
    return record


def _check(check: PendingCheck) -> dict[str, Any]:
    return {"id": check.id, "name": check.name, "asked": _moment(check.asked_us), "due": _moment(check.due_us)}


def _moment(at_us: int) -> str:
    try:
        return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):  # a time past the year 9999
        return f"{at_us} us"
