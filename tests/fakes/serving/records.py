"""An audit record of a plain answer, for tests to change."""

from typing import Any

from serving.audit.record import AuditRecord


def record(**changes: Any) -> AuditRecord:
    plain: dict[str, Any] = {
        "receipt": "r",
        "time_us": 1_700_000_000_000_000,
        "door": "http",
        "model": "flows",
        "version": "1",
        "revision": "sha256:" + "0" * 64,
        "variant": "stable",
        "source": "model",
        "request_id": None,
        "trace_id": None,
        "rows": 1,
        "inputs": {"host": {"datatype": "BYTES", "shape": [1], "data": ["10.0.0.1"]}},
        "features": {"flows__count": [3.0]},
        "event_times_us": {"flows": [1_700_000_000_000_000]},
        "operating_point": "siem_alerting",
        "scores": [0.25],
        "verdicts": ["benign"],
        "degraded": [False],
        "latency_us": 900,
    }
    return AuditRecord(**(plain | changes))
