"""What the verbs of the command line share: tables and progress for people, JSON for programs, errors in one message."""

import errno
import io
import json
import math
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

PAGE_WIDTH = 160
"""Columns of a table that is written to a file or pipe, where no terminal says."""


class PlainConsole(Console):
    """Draws words of others as text: control characters are spelt out, whatever they stand in, so they mean nothing to the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """See Console.render."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            is_plain = control is not None or text.isprintable() or text == "\n"
            if style is not None and style.link is not None and not style.link.isprintable():
                style, is_plain = style.update_link(None), False
            yield segment if is_plain else Segment(plain(text), style)


errors = PlainConsole(stderr=True, highlight=False)
"""Progress and messages: stderr, so that stdout is only the result."""


class CommandError(Exception):
    """A verb cannot do what was asked; the message says what, where, and the way out."""


def finite(text: str) -> float:
    """A number; raises ValueError for other text, also for NaN and infinities."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def finite_option(value: float | None) -> float | None:
    """For options that are numbers: typer itself takes `nan` and `inf`."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str] = ()) -> None:
    """A table on stdout. right: columns that are numbers."""
    table = Table(title=Text(plain(title), "table.title"), title_justify="left", header_style="bold")
    for index, name in enumerate(columns):
        table.add_column(Text(plain(name)), justify="right" if name in right else "left", overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    page().print(table)


def plain(words: object) -> str:
    """Words of a client, of a log or of a file as a terminal may show them: control characters are spelt out.

    >>> plain("host" + chr(27) + "[2J")
    'host\\\\x1b[2J'
    """
    return "".join(
        c if c.isprintable() or c == "\n" or unicodedata.category(c) == "Zs" else c.encode("unicode_escape").decode()
        for c in str(words)
    )


def plain_line(words: object) -> str:
    """The same in one line, so that nobody's words look like another line.

    >>> plain_line("done" + chr(10) + "promoted")
    'done\\\\npromoted'
    """
    return plain(words).replace("\n", "\\n")


def page() -> Console:
    """Where results are drawn: stdout, wide where it is not a terminal. What its encoding does not have becomes a question mark."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return PlainConsole(highlight=False, width=None if sys.stdout.isatty() else PAGE_WIDTH)


def print_records(title: str, records: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """The same records as a table or as JSON."""
    if as_json:
        print_json(list(records))
        return
    columns = list(records[0]) if records else ["(none)"]
    print_table(title, columns, [[r.get(c, "") for c in columns] for r in records])


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress display on stderr; nothing is drawn where stderr is not a terminal."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as display:
        yield display


def is_expected(problem: Exception) -> bool:
    """Whether it is one of ours, the system's or a validation's, whose message says what is wrong."""
    from pydantic import ValidationError

    is_ours = type(problem).__module__.split(".")[0] in {"serving", "lifecycle", "operators", "feature_repo"}
    return is_ours or isinstance(problem, OSError | ValidationError)


def message_of(problem: Exception) -> str:
    """What is wrong, as rich prints it.

    >>> message_of(OSError(28, "No space left on device"))
    'the disk is full: make room where the store and temporary files are, then run the command again'
    """
    from pydantic import ValidationError
    from rich.markup import escape

    if isinstance(problem, ValidationError):
        return escape(plain("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in problem.errors())))
    if isinstance(problem, OSError) and problem.filename is not None:
        return escape(plain(f"{problem.filename}: {problem.strerror.lower() if problem.strerror else problem}"))
    if isinstance(problem, OSError) and problem.errno == errno.ENOSPC:
        return "the disk is full: make room where the store and temporary files are, then run the command again"
    return escape(plain(problem))
