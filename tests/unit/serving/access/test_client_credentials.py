"""The token that our programs show: read when its file changes, told once while it cannot be read, never half of a file."""

import logging

import pytest

from serving.access import client_credentials
from serving.access.client_credentials import MOST_BYTES, FileToken, read_secret


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, client_credentials.__name__)
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_token_is_read_again_only_when_its_file_changed(tmp_path, monkeypatch):
    path, reads = tmp_path / "token", []
    monkeypatch.setattr(client_credentials, "read_secret", lambda path: reads.append(path) or read_secret(path))
    path.write_text("first\n")
    token = FileToken(path)
    assert [token.headers()["authorization"] for _ in range(3)] == ["Bearer first"] * 3
    (tmp_path / "next").write_text("the-second\n")
    (tmp_path / "next").replace(path)
    assert token.headers()["authorization"] == "Bearer the-second"
    assert len(reads) == 2


def test_a_token_that_cannot_be_read_is_told_once_for_each_reason(tmp_path, said):
    path = tmp_path / "token"
    token = FileToken(path)
    assert [token.headers() for _ in range(3)] == [{}] * 3
    path.write_text("two words")
    assert [token.headers() for _ in range(3)] == [{}] * 3
    assert [("No such file" in line, "not one word" in line) for line in said()] == [(True, False), (False, True)]
    path.write_text("mended")
    assert token.headers() == {"authorization": "Bearer mended"}
    path.unlink()
    assert token.headers() == {}, "a token that was taken away is not shown"
    assert len(said()) == 3


def test_a_file_that_is_far_too_large_is_no_secret(tmp_path):
    (tmp_path / "token").write_text("x" * (MOST_BYTES + 1))
    with pytest.raises(ValueError, match=f"larger than {MOST_BYTES} bytes"):
        read_secret(tmp_path / "token")
