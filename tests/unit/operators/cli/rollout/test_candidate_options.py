"""What options say of a candidate is the same revision in every verb that has them."""

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from operators.cli.console import CommandError
from operators.cli.rollout.start import CandidateOptions, with_candidate
from operators.rollout.spec import Revision

GIVEN = ["--version", "2", "--operating-point", "siem_alerting", "--threshold", "siem_alerting=0.7", "--threshold", "breach=0.2",
         "--triage", "--triage-audit", "0.5"]  # fmt: skip


@pytest.fixture
def told():
    """Runs a verb that has an argument before the options and an option after them; what it was told."""

    def run(*words):
        found = []
        app = typer.Typer()

        @app.command()
        @with_candidate
        def verb(name: str, candidate: CandidateOptions, most: Annotated[int, typer.Option()] = 7) -> None:
            found.append((name, candidate, most))

        done = CliRunner().invoke(app, list(words))
        assert done.exit_code == 0, done.output
        return found[0]

    return run


def test_without_options_a_candidate_is_its_bundle(told):
    assert told("flows") == ("flows", CandidateOptions(), 7)
    assert CandidateOptions().changes() == {}


def test_options_become_fields_of_a_revision(told):
    name, candidate, most = told("flows", *GIVEN, "--most", "3")
    assert (name, candidate.version, most) == ("flows", "2", 3)
    assert candidate.changes() == {
        "operatingPoint": "siem_alerting",
        "thresholds": {"siem_alerting": 0.7, "breach": 0.2},
        "triage": {"auditShare": 0.5},
    }
    revision = Revision.model_validate({"version": "2", "bundle": "sha256:" + "0" * 64} | candidate.changes())
    assert (revision.operating_point, revision.triage.audit_share) == ("siem_alerting", 0.5)


@pytest.mark.parametrize(("options", "problem"), [
    pytest.param(CandidateOptions(threshold=["siem_alerting"]), "expected POINT=VALUE", id="a threshold without a value"),
    pytest.param(CandidateOptions(triage_bound=0.1), "add --triage", id="a bound of a triage that is off"),
])  # fmt: skip
def test_options_that_say_nothing_are_refused(options, problem):
    with pytest.raises(CommandError, match=problem):
        options.changes()
