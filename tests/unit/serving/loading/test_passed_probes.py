"""Which bundles need no second probe, and where they do."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.loading.passed_probes import PassedProbes, parent_process
from serving.models.limits.bundle_limits import ModelLimits

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def test_a_bundle_that_passed_has_passed_for_the_next_process_of_the_same_parent(tmp_path):
    PassedProbes(tmp_path, ModelLimits(), "node 1").remember(DIGEST)
    again = PassedProbes(tmp_path, ModelLimits(), "node 1")
    assert again.has(DIGEST)
    assert not again.has(OTHER)


@pytest.mark.parametrize(
    ("limits", "parent"),
    [
        pytest.param(ModelLimits(), "node 2", id="another parent"),
        pytest.param(ModelLimits(run_s=1.0), "node 1", id="tighter limits"),
        pytest.param(ModelLimits(), "", id="no parent"),
    ],
)
def test_under_other_conditions_it_is_probed_again(tmp_path, limits, parent):
    PassedProbes(tmp_path, ModelLimits(), "node 1").remember(DIGEST)
    assert not PassedProbes(tmp_path, limits, parent).has(DIGEST)


def test_without_a_parent_nothing_is_noted(tmp_path):
    passed = PassedProbes(tmp_path, ModelLimits(), "")
    passed.remember(DIGEST)
    assert not passed.has(DIGEST)
    assert not list(tmp_path.iterdir())


def test_a_damaged_note_is_none(tmp_path):
    passed = PassedProbes(tmp_path, ModelLimits(), "node 1")
    passed.remember(DIGEST)
    (note,) = (tmp_path / "probed").iterdir()
    note.write_bytes(note.read_bytes()[:-5])
    assert not passed.has(DIGEST)


def test_a_store_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "probed").write_text("a file where the folder should be")
    passed = PassedProbes(tmp_path, ModelLimits(), "node 1")
    passed.remember(DIGEST)
    assert not passed.has(DIGEST)


@pytest.mark.heavy
def test_two_children_of_one_process_have_the_same_parent_and_their_parent_another():
    command = [sys.executable, "-c", "from serving.loading.passed_probes import parent_process; print(parent_process())"]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first == second
    assert first.strip() not in ("", parent_process())


def test_a_machine_without_proc_has_no_parents(tmp_path):
    assert parent_process(Path(tmp_path)) == ""
