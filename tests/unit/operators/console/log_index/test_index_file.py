"""The file of the index: who comes while it is being made reads an empty one."""

import sqlite3

import pytest

from operators.console.log_index.alert_queries import AlertFilter, AlertQueries
from operators.console.log_index.index_file import IndexFile, IndexUnavailable
from operators.console.log_index.index_scope import LogScope
from tests.open_files import open_below


def alerts(file: IndexFile) -> int:
    return len(AlertQueries(file).page(AlertFilter(), LogScope()).rows)


def test_before_it_is_made_it_is_empty(tmp_path):
    file = IndexFile(tmp_path / "console")
    assert alerts(file) == 0
    (tmp_path / "console").mkdir()
    sqlite3.connect(file.path).close()
    file.path.touch()  # as the writer leaves it before its tables are there
    assert alerts(file) == 0
    with file.writing() as connection:
        assert connection is not None
    assert alerts(file) == 0


def test_a_damaged_one_is_told(tmp_path):
    file = IndexFile(tmp_path)
    file.path.write_bytes(b"no database at all" * 100)
    with pytest.raises(IndexUnavailable, match="made again from the logs") as told:
        alerts(file)
    assert open_below(tmp_path) == [], told  # with its traceback, which keeps what nobody closed
