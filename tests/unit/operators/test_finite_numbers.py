"""NaN and infinities: JSON has neither, so no document, option or type takes them; what is refused is refused at once, in one message."""

import math

import pytest
from pydantic import TypeAdapter, ValidationError
from typer.testing import CliRunner

from operators.cli.console import CommandError
from operators.cli.main import app
from operators.cli.models.bundle import _thresholds
from operators.cli.rollout.start import threshold_of
from operators.cli.up import _settings, is_loopback
from operators.rollout.spec import Revision
from operators.values import Duration

NOT_FINITE = ["nan", "inf", "-inf", "1e999"]


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_threshold_of_a_rollout_is_finite(value):
    with pytest.raises(CommandError, match="VALUE a finite number"):
        threshold_of(f"siem_alerting={value}")


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_threshold_of_a_bundle_is_finite(value):
    with pytest.raises(CommandError, match="NUMBER finite"):
        dict(_thresholds([f"siem_alerting={value}"]))


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_document_has_finite_numbers(value):
    with pytest.raises(ValidationError, match="finite"):
        Revision.model_validate({"version": "1", "bundle": "sha256:" + "0" * 64, "thresholds": {"siem_alerting": float(value)}})


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_duration_is_finite(value):
    with pytest.raises(ValidationError, match="expected a duration"):
        TypeAdapter(Duration).validate_python(value)


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize(
    "verb",
    [
        ["scale", "set", "ids", "--target"],
        ["scale", "simulate", "--service-ms"],
        ["scale", "simulate", "--start-up-s"],
        ["conform", "--timeout-s"],
        ["demo", "rollout", "--rate"],
    ],
    ids=" ".join,
)
def test_an_option_is_a_finite_number(verb, value, tmp_path):
    done = CliRunner().invoke(app, [*verb, value], env={"VEDETTE_STORE_DIR": str(tmp_path)})
    assert done.exit_code == 2, done.output


@pytest.mark.parametrize(
    ("host", "is_on"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("10.0.0.7", False), ("soc.example", False)],
)
def test_up_lets_clients_load_models_on_loopback_only(host, is_on, monkeypatch):
    monkeypatch.delenv("VEDETTE_REPOSITORY_CONTROL", raising=False)
    assert is_loopback(host) is is_on
    assert _settings({"host": host}).repository_control is is_on


@pytest.mark.parametrize(("host", "said"), [("127.0.0.1", "false"), ("0.0.0.0", "true")])
def test_what_the_setting_says_of_loading_models_counts(host, said, monkeypatch):
    monkeypatch.setenv("VEDETTE_REPOSITORY_CONTROL", said)
    assert _settings({"host": host}).repository_control is (said == "true")
