"""Alerts and panels ask for metrics and labels that there are, and lead to a runbook that there is."""

import re

import pytest

from operators.observability.alerts.alert import RUNBOOKS, AlertGroup
from operators.observability.alerts.catalogue import GROUPS
from operators.observability.alerts.slo import OBJECTIVES, recorded
from operators.observability.manifests import DASHBOARDS
from tests.docs.pages import ROOT
from tests.unit.operators.observability.promql import asked, faults, grouped, known

ALERTS = [pytest.param(group, alert, id=alert.name) for group in GROUPS for alert in group.alerts]
PANELS = [pytest.param(panel, id=f"{d.uid}: {panel.title}") for d in DASHBOARDS for panel in d.panels]


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        pytest.param("vedette_no_such_total > 0", ["there is no vedette_no_such_total"], id="a metric that there is not"),
        pytest.param('up{jobb="x"}', ["up has no label jobb"], id="a label that the metric has not"),
        pytest.param(
            "sum by (modell) (vedette_rows_total)", ["no metric of it has the label modell"], id="a group by no label"
        ),
        pytest.param("1 > 0", ["it asks for no metric"], id="no metric at all"),
        pytest.param('sum by (le, model) (rate(vedette_request_seconds_bucket{le="0.1"}[5m]))', [], id="a histogram"),
    ],
)
def test_the_judge_of_queries(expr, expected):
    assert faults(expr) == expected


@pytest.mark.parametrize(("group", "alert"), ALERTS)
def test_an_alert_asks_for_what_there_is(group, alert):
    assert faults(alert.expr) == []


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
def test_recorded_series_ask_for_what_there_is(objective):
    assert [fault for rule in recorded(objective) for fault in faults(rule.expr)] == []


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_for_what_there_is(panel):
    assert [fault for query in panel.queries for fault in faults(query.expr)] == []


@pytest.mark.parametrize(("group", "alert"), ALERTS)
def test_the_words_of_an_alert_name_labels_that_it_has(group, alert):
    """Prometheus writes nothing for a label that there is not."""
    named = set(re.findall(r"\$labels\.(\w+)", alert.summary + alert.description))
    labels = grouped(alert.expr)
    if not labels:
        labels = {label for name, _ in asked(alert.expr) for label in known()[name]}
    for absent in re.findall(r"absent\((\w+)", alert.expr):
        assert absent in known()
    assert named <= labels, f"{alert.name} names {named - labels}"


@pytest.mark.parametrize("panel", PANELS)
def test_the_legend_of_a_panel_names_labels_that_it_has(panel):
    for query in panel.queries:
        named = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
        labels = grouped(query.expr) or {label for name, _ in asked(query.expr) for label in known()[name]}
        assert named <= labels, f"{query.expr}: {named - labels}"


def test_names_of_alerts_are_ours_and_said_once():
    names = [alert.name for group in GROUPS for alert in group.alerts]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"Vedette[A-Z][A-Za-z]+", name) for name in names)


def anchors(page: str) -> set[str]:
    text = (ROOT / RUNBOOKS / page).read_text(encoding="utf-8")
    return {title.lower() for title in re.findall(r"^## (\w+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.page)
def test_every_alert_has_a_runbook_and_every_runbook_an_alert(group: AlertGroup):
    assert anchors(f"{group.page}.md") == {alert.name.lower() for alert in group.alerts}


@pytest.mark.parametrize("panel", [p for p in PANELS if p.values[0].runbook is not None])
def test_a_panel_leads_to_a_section_that_there_is(panel):
    page, _, section = panel.runbook.partition("#")
    assert section in anchors(page)


def test_panels_lie_beside_one_another_within_the_width():
    for dashboard in DASHBOARDS:
        places = [p["gridPos"] for p in dashboard.as_json(RUNBOOKS)["panels"]]
        cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
        assert len(cells) == len(set(cells)), f"{dashboard.uid}: panels overlap"
        assert max(x for x, _ in cells) < 24


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.page)
def test_a_runbook_says_what_it_means_and_has_one_first_command(group: AlertGroup):
    text = (ROOT / RUNBOOKS / f"{group.page}.md").read_text(encoding="utf-8")
    for section in text.split("\n## ")[1:]:
        assert re.fullmatch(
            r"\w+\n\n\*\*It means\.\*\* .+?\n\n```sh\n[^\n]+\n```\n\n\*\*Look at\.\*\* .+?\n\n\*\*Mend it\.\*\* .+?\n\n"
            r"\*\*Escalate\.\*\* .+?\n?",
            section,
            re.DOTALL,
        ), section
