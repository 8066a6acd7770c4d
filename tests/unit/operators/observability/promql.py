"""What a PromQL expression asks for: metrics with the labels they are matched by, and the labels that it groups by."""

import re
from typing import NamedTuple

from operators.observability.alerts.slo import OBJECTIVES, WINDOWS
from operators.telemetry.monitor_names import MONITOR_METRICS
from operators.telemetry.operator_names import OPERATOR_METRICS
from operators.telemetry.sink_names import SINK_METRICS
from serving.telemetry.names import METRICS

TARGET = {"namespace", "pod", "instance", "job", "container", "endpoint"}
"""Labels that a scrape adds."""
PROCESS = {"process_resident_memory_bytes", "process_open_fds", "process_max_fds", "process_cpu_seconds_total"}
"""Of the Prometheus client."""
_SELECTOR = re.compile(r"\b(vedette[a-z_]*(?::[a-z_0-9]+)*|up|process_[a-z_]+)\b(\{[^}]*\})?")
_MATCHER = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)")


class Asked(NamedTuple):
    """One selector: metric, labels in its braces."""

    metric: str
    labels: frozenset[str]


def known() -> dict[str, set[str]]:
    """Every series there is, with its labels; `replica` is on those of the data plane."""
    found = {"up": TARGET, **{name: TARGET | {"replica"} for name in PROCESS}}
    for docs, more in ((METRICS, {"replica"}), (OPERATOR_METRICS, set()), (MONITOR_METRICS, set()), (SINK_METRICS, set())):
        for doc in docs:
            found.update({name: TARGET | more | set(labels) for name, labels in doc.exposed.items()})
    for objective in OBJECTIVES:
        labels = set(objective.by.replace(" ", "").split(","))
        found.update({objective.ratio(window): labels for window in WINDOWS})
    return found


def asked(expr: str) -> list[Asked]:
    plain = _GROUPED.sub(" ", expr)
    return [Asked(name, frozenset(_MATCHER.findall(braces or ""))) for name, braces in _SELECTOR.findall(plain)]


def grouped(expr: str) -> set[str]:
    return {label.strip() for labels in _GROUPED.findall(expr) for label in labels.split(",") if label.strip()}


def faults(expr: str) -> list[str]:
    """What it asks for that there is not."""
    series, selectors = known(), asked(expr)
    out = [f"there is no {name}" for name, _ in selectors if name not in series]
    here = [(name, labels) for name, labels in selectors if name in series]
    out += [f"{name} has no label {label}" for name, labels in here for label in labels - series[name]]
    labels_of_all = {label for name, _ in here for label in series[name]} | {"le"}
    out += [f"no metric of it has the label {label}" for label in grouped(expr) - labels_of_all]
    return out if selectors else ["it asks for no metric"]
