"""A document on a terminal: its sections as text and tables. Charts are of pages only."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import errors, plain, print_table

if TYPE_CHECKING:
    from lifecycle.documents.document import Document

MarkdownFile = Annotated[Path | None, typer.Option("--markdown", help="Write the report to this file as Markdown.")]
HtmlFile = Annotated[
    Path | None, typer.Option("--html", help="Write the report with charts to this HTML file; it needs no network.")
]


def show(document: "Document") -> None:
    """Print every section: its table, then what is said about it."""
    for section in document.sections:
        if section.grid is not None and section.grid.rows:
            print_table(section.title, section.grid.columns, section.grid.rows, right=section.grid.right)
        elif section.is_empty:
            print(plain(f"{section.title}: {section.empty}"))
        else:
            print(plain(section.title))
        for name, value in section.facts:
            print(plain(f"{name}: {value}"))
        for text in section.text:
            print(plain(text))
        print()


def write_files(document: "Document", markdown: Path | None, html: Path | None) -> None:
    """Write the files that were asked for."""
    from lifecycle.documents.document import write

    if markdown is not None:
        write_report(markdown, write(document, "md"))
    if html is not None:
        write_report(html, write(document, "html"))


def write_report(path: Path, text: str) -> None:
    """Write a report for others to read: whole or not at all, unless the path is no file (a pipe, `/dev/stdout`). Text that is not UTF-8,
    as in a name of a file, is spelt out."""
    from serving.files.whole_files import write_whole

    body = text.encode("utf-8", "backslashreplace").decode()
    if path.exists() and not path.is_file():
        path.write_text(body, encoding="utf-8")
    else:
        write_whole(path.resolve(), body)
    errors.print(f"written: {plain(path)}", markup=False)
