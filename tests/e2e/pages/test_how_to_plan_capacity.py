"""The page on capacity, followed from an empty folder; no server is asked."""

import json
from pathlib import Path

import pytest

from operators.capacity.assumptions import DEFAULTS
from tests.e2e.running.how_to import Reader, played

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
PLAN = "plan-capacity.md"


def test_plan_capacity(tmp_path: Path):
    (tmp_path / "assumptions.yaml").write_text(DEFAULTS.read_text(encoding="utf-8"), encoding="utf-8")
    reader, printed = Reader(tmp_path), dict[str, str]()
    for command in played(PLAN):
        printed[command] = reader.types(PLAN, command)
    assert "the plan holds" in next(text for command, text in printed.items() if "--html" in command)
    assert "p99 over the load" in (tmp_path / "capacity.html").read_text(encoding="utf-8")
    record = json.loads(next(text for command, text in printed.items() if "--json" in command))
    assert {"plan", "bites", "demand", "measured"} <= record.keys()
