"""A file that cannot be replaced stays as it was, and nothing is left beside it. Who writes with it tests the rest."""

import pytest

from serving.files.whole_files import write_whole


def test_a_file_that_cannot_be_replaced_leaves_no_draft(tmp_path):
    (tmp_path / "served.json").mkdir()
    with pytest.raises(OSError, match=r"served\.json"):
        write_whole(tmp_path / "served.json", "{}")
    assert [p.name for p in tmp_path.iterdir()] == ["served.json"]
