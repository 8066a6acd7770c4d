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


_QUICKLY = """
import typeguard
from typeguard import _decorators

checked, compiled = typeguard.typechecked, []
_decorators.instrument = compiled.append
from feature_repo import quick_feast

quick_feast.load()
from feature_repo.declared import objects_for
from feature_repo.flows import FLOWS

objects_for(FLOWS)
assert compiled == [], f"{len(compiled)} functions were compiled anew"
assert typeguard.typechecked is checked, "others keep their checks"
"""


@pytest.mark.integration
def test_training_imports_feast_without_the_type_checks_that_take_most_of_the_import():
    done = subprocess.run([sys.executable, "-c", _QUICKLY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
