"""A document on a terminal: its sections as text and tables. Charts are of pages only."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import errors, print_table

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
            print(f"{section.title}: {section.empty}")
        else:
            print(section.title)
        for name, value in section.facts:
            print(f"{name}: {value}")
        for text in section.text:
            print(text)
        print()


def write_files(document: "Document", markdown: Path | None, html: Path | None) -> None:
    """Write the files that were asked for."""
    from lifecycle.documents.document import write

    if markdown is not None:
        markdown.write_text(write(document, "md"), encoding="utf-8")
        errors.print(f"written: {markdown}", markup=False)
    if html is not None:
        html.write_text(write(document, "html"), encoding="utf-8")
        errors.print(f"written: {html}", markup=False)
