"""An audit record of a plain answer, for tests to change."""

from typing import Any

import numpy as np

from serving.audit.record import AuditRecord
from serving.messages import Tensor


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


def one_row(code: int = 0, score: float = 0.25, **changes: Any) -> AuditRecord:
    """A record as the scorer makes them of one row: arrays, and the verdict's code."""
    plain: dict[str, Any] = {
        "inputs": {"x": Tensor("x", "FP32", np.array([[0.1, 1e-7]], np.float32), is_finite=True)},
        "features": {"f": np.array([3.0])},
        "scores": np.array([score], np.float32),
        "verdicts": np.array([code]),
        "degraded": np.array([False]),
    }
    return record(**(plain | changes))
