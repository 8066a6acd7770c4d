"""Words of clients, logs and files on a terminal: shown as they are, meaning nothing to it."""

import pytest

from operators.cli.console import print_table


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        pytest.param("[/bold] host", "[/bold] host", id="an end tag of nothing"),
        pytest.param("[red]host[/red]", "[red]host[/red]", id="tags"),
        pytest.param("host\x1b[2J", "host\\x1b[2J", id="a sequence that clears the screen"),
        pytest.param("tcp\rudp", "tcp\\rudp", id="a carriage return"),
        pytest.param("12\u00a0345", "12\u00a0345", id="a space that does not break"),
    ],
)
def test_a_table_shows_the_words_of_others_as_they_are(capsys, cell, shown):
    print_table("words", ["name"], [[cell]])
    assert shown in capsys.readouterr().out
