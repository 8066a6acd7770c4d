"""A detector's rules over rows of its data: the columns that they make for the model (`use: feature`), by the code that serves them, and
what they say alone of held-out rows.

They are measured on the request's fields alone, as when the feature store is down."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from lifecycle.datasets.datatypes import request_types
from lifecycle.datasets.detector import Detector
from lifecycle.errors import DetectorError
from serving.rules.declared.rules_spec import RULE_COLUMNS
from serving.rules.declared.rules_yaml import FOLDER, THRESHOLDS
from serving.rules.errors import RuleError
from serving.rules.ruleset import RuleSet, read_rules

MEASURED_ROWS: Final = 20_000
"""At most; evenly over the rows."""


def rule_files(detector: Detector) -> dict[str, bytes]:
    """Files of the bundle's `rules/` folder, by name; empty if the detector declares no rules."""
    if detector.rules is None:
        return {}
    body = detector.rules.model_dump(mode="json", exclude_defaults=True)
    return {THRESHOLDS: yaml.safe_dump(body, sort_keys=True).encode()}


def rule_column_names(detector: Detector) -> tuple[str, ...]:
    """Columns that its rules make for the model."""
    return RULE_COLUMNS if detector.rules is not None and detector.rules.use in ("feature", "member") else ()


def with_rule_columns(detector: Detector, frame: Any, types: Mapping[str, str]) -> Any:
    """The frame with those columns beside it; the frame itself if there are none. types: datatypes of the request's fields. Raises
    DetectorError."""
    if not rule_column_names(detector):
        return frame
    return frame.assign(**compiled_rules(detector, types).features(request_columns(frame, types), len(frame)))


def compiled_rules(detector: Detector, types: Mapping[str, str]) -> RuleSet:
    """The detector's rules over the request's fields. Raises DetectorError."""
    try:
        return read_rules({f"{FOLDER}{name}": content for name, content in rule_files(detector).items()}, types)
    except RuleError as problem:
        raise DetectorError(f"detector {detector.name!r}: rules: {problem}") from problem


def request_columns(frame: Any, types: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """The request's fields as rules take them."""
    return {name: frame[name].to_numpy(dtype=object if datatype == "BYTES" else np.float64) for name, datatype in types.items()}


def measure_rules(detector: Detector, frame: Any, attack: NDArray[np.bool_], rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Figures of the rules alone on these rows: precision and recall of alerts; recall of alerts and `investigate` verdicts that a rule
    gave; share of the rows that match no rule. None where there is nothing to divide by. Raises DetectorError."""
    where = np.flatnonzero(rows)
    where = where[:: max(1, -(-len(where) // MEASURED_ROWS))]
    part, truth = frame.iloc[where], attack[where]
    types = request_types(detector)
    found = compiled_rules(detector, types).judge(request_columns(part, types), len(where))
    named = np.array([bool(ids) for ids in found.matched], dtype=np.bool_)
    alert = (found.codes == 2) & named
    return {
        "rows": len(where),
        "alert_precision": _share(truth & alert, alert),
        "alert_recall": _share(truth & alert, truth),
        "named_recall": _share(truth & named & (found.codes > 0), truth),
        "unnamed_share": _share(~named, np.ones(len(where), dtype=np.bool_)),
    }


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float | None:
    return round(float(part.sum() / whole.sum()), 4) if whole.any() else None
