"""Pages: one file that needs no network, of bounded size, in which text of others stays text."""

import json
import re

import plotly.graph_objects as go
import pytest

from lifecycle.documents.charts import Chart, Line, chart_json, plotly_script
from lifecycle.documents.document import Document, Grid, Section, write

EVIL = "</script><img src=x onerror=alert(1)>"
CHART = Chart(
    "Recall | over false alarms", "false alarms", "recall",
    (Line(EVIL, [0.001, 0.1], [0.2, 0.9], [0.1, 0.8], [0.3, 1.0], [EVIL, "b"], is_points=True), Line("b", ["x"], [None], is_bars=True)),
    x_axis="log", y_range=(0, 1),
)  # fmt: skip


@pytest.fixture(scope="module")
def page():
    grid = Grid(("name", "value"), ((EVIL, "1"),), right=("value",))
    return write(Document("Title", "About", (Section("One", grid=grid, charts=(CHART, CHART)), Section("Two")), {}), "html")


def test_plotly_takes_the_chart():
    body = json.loads(chart_json(CHART))
    figure = go.Figure(data=body["data"], layout=body["layout"])  # raises for a field that it does not know
    assert figure.data[0].error_y.array == pytest.approx((0.1, 0.1))
    assert figure.layout.xaxis.type == "log"


def test_a_band_ends_where_a_bound_is_missing():
    line = Line(
        "a", ["1", "2", "3", "4"], [0.5, 0.6, None, 0.7], low=[0.4, 0.5, None, 0.6], high=[0.6, 0.7, None, 0.8], is_band=True
    )
    band, trace = json.loads(chart_json(Chart("", "x", "y", (line,))))["data"]
    go.Figure(data=[band, trace])
    assert band["x"] == ["1", "2", "2", "1", None, "4", "4", None]
    assert band["y"] == [0.6, 0.7, 0.5, 0.4, None, 0.8, 0.6, None]
    assert "error_y" not in trace


@pytest.mark.heavy
def test_a_page_asks_nothing_of_a_network(page):
    own = page.replace(plotly_script(), "")
    assert not re.search(r"""(src|href)=["'](https?:)?//""", own)
    assert "http" not in own.replace("http-equiv", "")
    assert "default-src 'none'" in page


def test_the_library_is_there_once_and_the_rest_is_small(page):
    assert page.count(plotly_script()) == 1
    assert len(page) - len(plotly_script()) < 20_000
    assert len(page.encode()) < 5_500_000


def test_a_page_without_charts_has_no_script():
    page = write(Document("Title", "About", (Section("One", text=("a",)),), {}), "html")
    assert "<script" not in page
    assert "script-src" not in page


def test_text_of_others_does_not_become_a_tag(page):
    own = page.replace(plotly_script(), "")
    assert "<img" not in own
    assert own.count("</script>") == 2
    assert own.count('class="chart"') == 2
    assert len(set(re.findall(r'id="(chart-\d+)"', own))) == 2


def test_markdown_has_the_numbers_to_the_right():
    grid = Grid(("name", "value"), (("a|b", "1"),), right=("value",))
    text = write(Document("Title", "About", (Section("One", grid=grid, charts=(CHART,)),), {}), "md")
    assert "| --- | ---: |" in text
    assert r"a\|b" in text


def test_names_are_an_axis_of_their_own_and_long_ones_stand_beside_it():
    lines = (Line("difference", ["recall at siem_alerting", "ROC-AUC"], [0.1, -0.2], [0.0, -0.3], [0.2, -0.1], is_points=True),)
    body = json.loads(chart_json(Chart("a", "", "difference", lines, is_sideways=True)))
    figure = go.Figure(data=body["data"], layout=body["layout"])
    assert figure.layout.yaxis.type == "category"
    assert figure.data[0].y == ("recall at siem_alerting", "ROC-AUC")
    assert figure.data[0].error_x.array == pytest.approx((0.1, 0.1))
    assert figure.layout.height > 100
