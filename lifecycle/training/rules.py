"""A detector's rules: written into its bundle, and measured alone on held-out rows.

They are measured on the request's fields alone, as when the feature store is down."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from lifecycle.datasets.detector import Detector
from lifecycle.errors import DetectorError
from lifecycle.training.features import DATATYPES
from serving.rules.declared.rules_yaml import FOLDER
from serving.rules.errors import RuleError
from serving.rules.ruleset import read_rules

MEASURED_ROWS: Final = 20_000
"""At most; evenly over the rows."""


def rule_files(detector: Detector) -> dict[str, bytes]:
    """Files of the bundle's `rules/` folder, by name; empty if the detector declares no rules."""
    if detector.rules is None:
        return {}
    body = detector.rules.model_dump(mode="json", exclude_defaults=True)
    return {"rules.yaml": yaml.safe_dump(body, sort_keys=True).encode()}


def measure_rules(detector: Detector, frame: Any, attack: NDArray[np.bool_], rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Figures of the rules alone on these rows: precision and recall of alerts; recall of alerts and `investigate` verdicts that a rule
    gave; share of the rows that match no rule. None where there is nothing to divide by. Raises DetectorError."""
    where = np.flatnonzero(rows)
    where = where[:: max(1, -(-len(where) // MEASURED_ROWS))]
    part, truth = frame.iloc[where], attack[where]
    types = {name: DATATYPES[detector.source.columns[name].type] for name in detector.request_fields}
    try:
        rules = read_rules({f"{FOLDER}{name}": content for name, content in rule_files(detector).items()}, types)
    except RuleError as problem:
        raise DetectorError(f"detector {detector.name!r}: rules: {problem}") from problem
    columns: Mapping[str, NDArray[Any]] = {
        name: part[name].to_numpy(dtype=object if datatype == "BYTES" else np.float64) for name, datatype in types.items()
    }
    found = rules.judge(columns, len(where))
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
