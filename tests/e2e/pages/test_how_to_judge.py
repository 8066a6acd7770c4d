"""How-tos that judge a model or its data and need no server, followed to the letter."""

import os
from pathlib import Path

import pytest

from tests.e2e.running.how_to import Reader, played

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
GATE, DRIFT = "check-models-in-ci.md", "watch-for-drift.md"


def test_watch_for_drift(tmp_path: Path):
    data = os.environ.get("VEDETTE_DATA_DIR")
    if not data:
        pytest.skip("needs real data: set VEDETTE_DATA_DIR to the folder with nsl-kdd/")
    reader = Reader(tmp_path)
    reader.exported["VEDETTE_DATA_DIR"] = data
    said = reader.types(DRIFT, played(DRIFT)[0], ends_with=(1,))
    assert "Data drift" in said
    page = (tmp_path / "drift.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("service", "flag", "dst_host_rerror_rate"))


def test_check_models_in_ci(tmp_path: Path):
    reader = Reader(tmp_path)
    reader.makes_files(GATE)
    reader.follows(GATE)
    assert (tmp_path / "gate.md").read_text(encoding="utf-8").startswith("# flows 1: passed")
