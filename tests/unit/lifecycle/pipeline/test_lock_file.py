"""dvc.lock: what others wrote stays, and a crash leaves the old file or the new one."""

import pytest
import yaml

from lifecycle.pipeline.content.digests import ContentDigest
from lifecycle.pipeline.content.lock_file import LockEntry, LockFile
from lifecycle.pipeline.errors import PipelineFileError

ENTRY = LockEntry(
    ("one", "two: 'three'"),
    {"b": ContentDigest("1" * 32, 3, is_executable=True), "a": ContentDigest("2" * 32 + ".dir", 5, 2)},
    {"z.yaml": {"k": None}, "params.yaml": {"b": [1, "on"], "a": 1e-5}},
    {"out": ContentDigest("3" * 32, 0)},
)


def test_an_entry_is_read_as_it_was_written(tmp_path):
    LockFile.read(tmp_path / "dvc.lock").put("s", ENTRY)
    assert LockFile.read(tmp_path / "dvc.lock").entry("s") == ENTRY
    text = (tmp_path / "dvc.lock").read_text(encoding="utf-8")
    assert text.startswith("schema: '2.0'\nstages:\n  s:\n    cmd:\n    - one\n")
    assert text.index("path: a") < text.index("path: b")
    assert text.index("params.yaml") < text.index("z.yaml")


def test_what_others_wrote_stays(tmp_path):
    others = {
        "schema": "2.0",
        "datasets": [{"name": "d"}],
        "stages": {"other": {"cmd": "x", "outs": [{"path": "o", "cloud": {}}]}},
    }
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(others))
    LockFile.read(tmp_path / "dvc.lock").put("s", ENTRY)
    after = yaml.safe_load((tmp_path / "dvc.lock").read_text(encoding="utf-8"))
    assert after["datasets"] == others["datasets"]
    assert after["stages"]["other"] == others["stages"]["other"]
    assert set(after["stages"]) == {"other", "s"}


def test_digests_of_another_kind_count_as_changed(tmp_path):
    outs = [{"path": "old", "md5": "1" * 32}, {"path": "cloud", "hash": "md5", "files": []}]
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"s": {"cmd": "x", "outs": outs}}}))
    assert LockFile.read(tmp_path / "dvc.lock").entry("s") == LockEntry("x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            "schema: '3.0'\nstages: {}", "of schema '3.0', understood is 2.0; mend it, or remove it", id="another schema"
        ),
        pytest.param("stages: {}", "of schema None", id="no schema"),
        pytest.param("- x", "expected a mapping", id="a list"),
        pytest.param("schema: '2.0'\nstages: [", "is not YAML", id="cut off"),
        pytest.param("<<<<<<< HEAD\nschema: '2.0'", "is not YAML", id="a merge that was not finished"),
    ],
)
def test_a_lock_that_cannot_be_read_is_refused(tmp_path, text, said):
    (tmp_path / "dvc.lock").write_text(text)
    with pytest.raises(PipelineFileError) as refused:
        LockFile.read(tmp_path / "dvc.lock")
    assert said in str(refused.value)


@pytest.mark.parametrize("record", [{}, {"cmd": 1}, [], "x", {"cmd": "x", "params": {"f": 1}}])
def test_an_entry_that_is_none_counts_as_never_run(tmp_path, record):
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"s": record}}))
    assert LockFile.read(tmp_path / "dvc.lock").entry("s") is None
