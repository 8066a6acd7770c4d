"""Panels, rows and dashboards of Grafana, as its JSON model has them (schema version 39, Grafana 10 and newer). Pure.

A query is PromQL with `$namespace` and `$model`, the dashboard's variables: patterns for `=~`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

PanelKind = Literal["timeseries", "stat", "table", "bargauge"]
_COLUMNS: Final = 24
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Query:
    """One line of a panel. legend: Grafana's template, `{{model}}`."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """unit: Grafana's name of it (`s`, `reqps`, `percentunit`, `bytes`, `short`). red_from: where the line turns red. runbook: page and
    alert that explain it."""

    title: str
    says: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: PanelKind = "timeseries"
    width: int = 8
    height: int = 7
    red_from: float | None = None
    runbook: str | None = None


@dataclass(frozen=True, slots=True)
class PanelRow:
    """Panels under one title, left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """uid: its address, stable. of: the metric that knows the namespaces and models to choose from."""

    uid: str
    title: str
    says: str
    rows: tuple[PanelRow, ...]
    of: str = "vedette_model_info"

    @property
    def panels(self) -> Iterator[Panel]:
        """All of them."""
        for row in self.rows:
            yield from row.panels

    def as_json(self, runbooks: str) -> dict[str, Any]:
        """What Grafana imports. runbooks: where the pages of runbooks are."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.says,
            "tags": ["vedette"],
            "schemaVersion": 39,
            "editable": False,
            "time": {"from": "now-3h", "to": "now"},
            "refresh": "30s",
            "templating": {"list": self._variables()},
            "links": [
                {
                    "type": "dashboards",
                    "title": "Vedette",
                    "tags": ["vedette"],
                    "asDropdown": True,
                    "keepTime": True,
                    "includeVars": True,
                }
            ],
            "panels": list(_laid_out(self.rows, runbooks)),
        }

    def _variables(self) -> list[Mapping[str, Any]]:
        source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
        return [source, _variable("namespace", self.of, ""), _variable("model", self.of, 'namespace=~"$namespace"')]


def _variable(label: str, metric: str, matchers: str) -> dict[str, Any]:
    return {
        "name": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": f"label_values({metric}{{{matchers}}}, {label})" if matchers else f"label_values({metric}, {label})",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _laid_out(rows: Sequence[PanelRow], runbooks: str) -> Iterator[dict[str, Any]]:
    number = top = 0
    for row in rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "panels": [],
            "gridPos": _place(0, top, _COLUMNS, 1),
        }
        top += 1
        left = tallest = 0
        for panel in row.panels:
            if left + panel.width > _COLUMNS:
                left, top, tallest = 0, top + tallest, 0
            number += 1
            yield _panel(panel, number, _place(left, top, panel.width, panel.height), runbooks)
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _place(x: int, y: int, w: int, h: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": w, "h": h}


def _panel(panel: Panel, number: int, place: dict[str, int], runbooks: str) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red_from is not None:
        steps.append({"color": "red", "value": panel.red_from})
    is_instant = panel.kind in {"table", "stat", "bargauge"}
    custom: dict[str, Any] = (
        {} if panel.kind != "timeseries" or panel.red_from is None else {"thresholdsStyle": {"mode": "line"}}
    )
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}, "custom": custom},
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if panel.kind == "timeseries" else {},
        "links": []
        if panel.runbook is None
        else [{"title": "Runbook", "url": f"{runbooks}/{panel.runbook}", "targetBlank": True}],
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
                "datasource": _SOURCE,
                "instant": is_instant,
                "range": not is_instant,
                **({"format": "table"} if panel.kind == "table" else {}),
            }
            for at, query in enumerate(panel.queries)
        ],
    }
