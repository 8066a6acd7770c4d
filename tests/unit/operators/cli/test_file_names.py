"""A file is what its name ends in, in whatever case a tool or a file system writes it."""

import pytest

from operators.cli.rollout.lint import _texts
from operators.cli.rules.event_files import read_events


@pytest.mark.parametrize("name", ["a.JSON", "a.Jsonl", "a.NDJSON", "in/a.json"])
def test_events_of_a_folder(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('{"EventID": 1}')
    (tmp_path / "notes.txt").write_text("no events")
    assert [found.body for found in read_events(tmp_path)] == [b'{"EventID": 1}']


@pytest.mark.parametrize("name", ["a.YAML", "a.Yml", "a.JSON"])
def test_documents_of_a_folder(tmp_path, name):
    (tmp_path / name).write_text("kind: ModelService")
    (tmp_path / "notes.txt").write_text("no document")
    assert list(_texts([str(tmp_path)])) == [(str(tmp_path / name), "kind: ModelService")]
