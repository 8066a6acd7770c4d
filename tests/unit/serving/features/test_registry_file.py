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
    assert feast.read_when_settled(path) == b"whole"
    assert len(pauses) == 1


@pytest.mark.parametrize("torn", [b"", b"who"])
def test_what_is_read_in_the_middle_of_a_write_is_not_taken(path, monkeypatch, torn):
    path.write_bytes(torn)
    monkeypatch.setattr(feast.time, "sleep", lambda _: path.write_bytes(b"whole") if path.read_bytes() != b"whole" else None)
    assert feast.read_when_settled(path) == b"whole"


def test_a_file_that_stays_empty_is_refused(path, monkeypatch):
    monkeypatch.setattr(feast.time, "sleep", lambda _: None)
    path.write_bytes(b"")
    with pytest.raises(RegistryError, match="empty"):
        feast.read_when_settled(path)


@pytest.mark.parametrize(
    "text",
    [
        "project: [",
        "registry: registry.db",
        "project: p\nregistry: 5",
        "[]",
        "project: p\nregistry: {path: 5}",
        "project: 2026-99-99",
    ],
)
def test_a_configuration_that_cannot_be_read_is_not_taken_for_none(tmp_path, text):
    """Else a server starts without its features, and a slip made later is never said."""
    (tmp_path / "feature_store.yaml").write_text(text)
    seen = feast.signature(tmp_path)
    assert seen is not None
    assert feast.is_local(seen), "it is looked at again only when it changes"
    with pytest.raises(RegistryError):
        feast.read(tmp_path)


def test_a_registry_that_was_never_applied_is_none_yet(tmp_path):
    assert feast.signature(tmp_path) is None
    (tmp_path / "feature_store.yaml").write_text("project: p")
    assert feast.signature(tmp_path) is None
