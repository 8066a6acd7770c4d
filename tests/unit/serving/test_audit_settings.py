"""How the mode of the prediction log is said."""

import pytest
from pydantic import ValidationError

from serving.app import audit_modes
from serving.audit.durability.modes import AuditMode
from serving.settings import ServingSettings


@pytest.mark.parametrize(
    ("said", "mode"),
    [
        ("strict", "strict"),
        ("async", "async"),
        ("off", "off"),
        ("true", "async"),
        ("false", "off"),
        ("1", "async"),
        ("0", "off"),
    ],
)
def test_the_mode_and_what_it_was_called_before(monkeypatch, said, mode):
    monkeypatch.setenv("VEDETTE_AUDIT", said)
    assert ServingSettings().audit == mode


def test_a_mode_for_single_models(monkeypatch):
    monkeypatch.setenv("VEDETTE_AUDIT", "off")
    monkeypatch.setenv("VEDETTE_AUDIT_MODELS", '{"flows": "strict", "test": false}')
    modes = audit_modes(ServingSettings())
    assert (modes.default, dict(modes.models)) == (AuditMode.OFF, {"flows": AuditMode.STRICT, "test": AuditMode.OFF})
    assert not modes.are_all_off
    assert modes.words() == "off; flows: strict; test: off"


def test_an_unknown_mode_is_an_error_that_names_the_words(monkeypatch):
    monkeypatch.setenv("VEDETTE_AUDIT", "sometimes")
    with pytest.raises(ValidationError, match="'strict', 'async' or 'off'"):
        ServingSettings()
