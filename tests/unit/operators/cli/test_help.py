"""The help of the command line: every word of it reaches the terminal, and every verb has its place."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from rich.text import Text
from typer.testing import CliRunner

from operators.cli.kubectl import app as kubectl_app
from operators.cli.main import app


def helps(command: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every help text below a command, by where it stands."""
    if command.help:
        yield path, command.help
    for parameter in command.params:
        if getattr(parameter, "help", None):
            yield f"{path} {parameter.name}", parameter.help
    for name, inner in getattr(command, "commands", {}).items():
        yield from helps(inner, f"{path} {name}")


@pytest.mark.parametrize(("name", "found"), [("vedette", app), ("kubectl vedette", kubectl_app)])
def test_no_word_of_a_help_text_is_taken_for_markup(name, found):
    lost = {where for where, text in helps(typer.main.get_command(found), name) if Text.from_markup(text).plain != text}
    assert not lost


def test_the_verbs_are_grouped_by_what_they_are_about():
    command: Any = typer.main.get_command(app)
    panels = {name: inner.rich_help_panel for name, inner in command.commands.items()}
    assert panels["train"] == panels["bundle"] == "Models and features"
    assert panels["rollout"] == panels["scale"] == "Rollouts and scaling"
    assert not [name for name, panel in panels.items() if not isinstance(panel, str)]


@pytest.mark.parametrize(
    "words",
    [
        ("rollout", "plan", "flows", "--requests", "0"),
        ("demo", "--rate", "0"),
        ("scale", "simulate", "--seed", "-1"),
        ("train", "flows", "--seed", "-1"),
    ],
)
def test_a_number_out_of_range_is_refused_before_anything_is_done(words):
    assert CliRunner().invoke(app, words).exit_code == 2
