"""Values that a person or a file gives: refused in words where they cannot be, never with a trace."""

import io

import pytest
from rich.panel import Panel
from rich.text import Text

from operators.cli import up
from operators.cli.console import CommandError, PlainConsole, page, print_table
from operators.cli.models.features import _column
from operators.cli.rules.event_files import events_in
from serving.ports import FieldInfo


@pytest.mark.parametrize(("datatype", "text"), [("INT64", "9" * 30), ("INT32", "many"), ("INT8", "300")])
def test_a_key_that_its_datatype_cannot_hold_is_refused(datatype, text):
    with pytest.raises(CommandError, match=f"expected {datatype}"):
        _column(FieldInfo("port", datatype), text)


def test_an_event_with_a_number_beyond_bounds_is_not_called_too_deep():
    found = list(events_in("x", b'{"a": ' + b"9" * 5_000 + b'}\n{"b": 1}\n'))
    assert [event.error is None for event in found] == [False, True]
    assert "digits" in str(found[0].error)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("::1", "http://[::1]:80"), ("localhost", "http://localhost:80")],
)
def test_the_address_that_is_announced_can_be_opened(host, expected):
    assert up.url_of(host, 80) == expected


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


@pytest.mark.parametrize("drawn", ["host\x1b[2J", Text("host\x1b[2J"), Panel("host\x1b[2J")], ids=["markup", "text", "a panel"])
def test_whatever_is_drawn_the_words_in_it_mean_nothing_to_the_terminal(capsys, drawn):
    page().print(drawn)
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "host\\x1b[2J" in said


def test_names_of_tables_and_columns_are_text_as_they_are(capsys):
    print_table("tags[/x] :bug: \x1b[2J", ["tags[i]", "\x1b[2J[/x]"], [[1, 2]])
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert all(word in said for word in ("tags[/x] :bug: \\x1b[2J", "tags[i]", "\\x1b[2J[/x]"))


def test_a_link_that_means_something_to_the_terminal_is_none():
    out = io.StringIO()
    console = PlainConsole(file=out, force_terminal=True, color_system="standard", highlight=False)
    console.print("[red][link=http://x\x9b2J]late[/][/]", "[link=http://soc.example]page[/]")
    assert out.getvalue().startswith("\x1b[31mlate\x1b[0m \x1b]8;")
    assert "\x9b" not in out.getvalue()


def test_a_terminal_still_gets_the_colours_that_are_ours():
    out = io.StringIO()
    PlainConsole(file=out, force_terminal=True, color_system="standard", highlight=False).print("[red]late[/] \x1b[2J")
    assert out.getvalue() == "\x1b[31mlate\x1b[0m \\x1b[2J\n"
