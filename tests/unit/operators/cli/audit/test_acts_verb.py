"""`vedette audit acts` as somebody types it, over a log that strangers and tampering can reach."""

import json

import pytest
from typer.testing import CliRunner

from lifecycle.governance.acts import Act, ActsLog
from operators.cli.main import app

HOSTILE = "no\x1b[2J\x1b]0;title\x07\rit was approved"


@pytest.fixture
def store(tmp_path):
    log = ActsLog(tmp_path / "governance", signer=lambda: None, now_us=lambda: 1)
    log.record(Act(time_us=1_760_000_000_000_000, actor=HOSTILE, action="console.act", subject=HOSTILE, reason=HOSTILE))
    log.record(Act(time_us=2**60, actor="eve", action="rollout.abort", subject="modelservice/default/flows", reason="x"))
    return tmp_path


def asks(store, *words):
    return CliRunner().invoke(app, ["audit", "acts", "--store-dir", str(store), *words], catch_exceptions=False)


def test_what_others_wrote_means_nothing_to_the_terminal(store):
    said = asks(store).stdout
    assert "\x1b" not in said
    assert "\r" not in said
    assert "\\x1b[2J" in said.replace("\n", "")


def test_a_time_of_no_calendar_is_shown_as_it_stands_and_the_rest_too(store):
    assert f"time_us {2**60}" in asks(store).stdout
    assert [one["actor"] for one in json.loads(asks(store, "--json").stdout)] == [HOSTILE, "eve"]


@pytest.mark.parametrize("name", ["[red]x", "x[/y]", ":bug:", "[link=http:a]b"])
def test_the_folder_in_the_title_is_text_as_it_is(tmp_path, monkeypatch, name):
    """A tag in its name was left out, and an end tag of nothing ended the verb with a trace."""
    monkeypatch.chdir(tmp_path)
    ActsLog(tmp_path / name / "governance", signer=lambda: None, now_us=lambda: 1).record(
        Act(time_us=1, actor="eve", action="rollout.abort", subject="modelservice/default/flows", reason="x")
    )
    assert f"governed acts in {name}/governance" in " ".join(asks(name).stdout.split())
