"""The feature repository is one that Feast's own command can apply."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.integration
def test_feast_applies_it(tmp_path):
    shutil.copytree(ROOT / "feature_repo", tmp_path / "feature_repo", ignore=shutil.ignore_patterns("__pycache__", "*.db"))
    command = [str(Path(sys.executable).with_name("feast")), "-c", str(tmp_path / "feature_repo"), "apply"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}, check=False)
    assert done.returncode == 0, done.stderr
    for created in ("entity host", "feature view host_10s", "on demand feature view flow", "feature service flows_v1"):
        assert f"Created {created}" in done.stdout
