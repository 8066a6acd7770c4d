"""A registry file that is read while Feast writes it."""

import pytest

from serving.features.plan import feast
from serving.features.plan.errors import RegistryError


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "registry.db"
    path.write_bytes(b"whole")
    return path


def test_a_file_at_rest_is_read_at_once(path, monkeypatch):
    pauses = []
    monkeypatch.setattr(feast.time, "sleep", pauses.append)
    assert feast.settled(path) == b"whole"
    assert len(pauses) == 1


@pytest.mark.parametrize("torn", [b"", b"who"])
def test_what_is_read_in_the_middle_of_a_write_is_not_taken(path, monkeypatch, torn):
    path.write_bytes(torn)
    monkeypatch.setattr(feast.time, "sleep", lambda _: path.write_bytes(b"whole") if path.read_bytes() != b"whole" else None)
    assert feast.settled(path) == b"whole"


def test_a_file_that_stays_empty_is_refused(path, monkeypatch):
    monkeypatch.setattr(feast.time, "sleep", lambda _: None)
    path.write_bytes(b"")
    with pytest.raises(RegistryError, match="empty"):
        feast.settled(path)
