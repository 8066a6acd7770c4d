"""A document of sections, and how it is written: Markdown, HTML that prints well, JSON. The one user of Jinja2."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import jinja2

from lifecycle.documents.charts import Chart, plotly_script, script_of

Format = Literal["md", "html", "json"]

_INLINE: Final = re.compile(r"(?<=!)\[|(?<=\])\(|<(?=[A-Za-z/!?])")
"""Begins a picture, the address of a link, or HTML."""
_BLOCK: Final = re.compile(r"^(#{1,6}(?= |$)|[>|\[]|[-+*](?= |$)|[-_*=]{2,}$|[`~]{3})")
"""Begins a heading, a quotation, a table, the address of a link elsewhere, a list, a ruler or a block of code."""
_PIPE: Final = re.compile(r"(\\*)\|")


@dataclass(frozen=True, slots=True)
class Grid:
    """A table. rows: one cell for each column, written as text. right: columns that are numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a document. facts: names and values. empty: what is said where there is nothing to say. charts: in HTML only."""

    title: str
    text: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    grid: Grid | None = None
    empty: str = ""
    charts: tuple[Chart, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing but the title."""
        return not self.text and not self.facts and (self.grid is None or not self.grid.rows) and not self.charts


@dataclass(frozen=True, slots=True)
class Document:
    """The whole. record: the same for programs."""

    title: str
    about: str
    sections: tuple[Section, ...]
    record: Mapping[str, Any]


def write(document: Document, form: Format) -> str:
    """The document as text in this form."""
    if form == "json":
        return json.dumps({"title": document.title, **document.record}, indent=2, default=str) + "\n"
    charts = [chart for section in document.sections for chart in section.charts] if form == "html" else []
    bodies = script_of(charts)
    return _ENVIRONMENT.get_template(f"document.{form}.j2").render(
        document=document, charts=bodies, names=list(bodies), script=plotly_script() if charts else ""
    )


def percent(value: float | None) -> str:
    """A share for people."""
    return "-" if value is None else f"{value:.2%}".replace("%", " %")


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A share with its bounds for people."""
    return "-" if value is None else f"{value:.4f} ({low:.4f} to {high:.4f})"


def as_facts(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Names and values for people; what is empty is left out."""
    return tuple((key.replace("_", " "), _words(value)) for key, value in values.items() if value not in (None, "", [], {}))


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(inner)}" for key, inner in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "; ".join(_words(inner) for inner in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _line(text: str) -> str:
    """Text as one line of Markdown that is text and no more: no HTML, no link or picture of somebody else's, no block of its own."""
    return _inline(_BLOCK.sub(r"\\\1", " ".join(text.split())))


def _cell(text: str) -> str:
    """Text that stays within its cell of a Markdown table."""
    return _PIPE.sub(r"\1\1\\|", _inline(" ".join(text.split())))


def _inline(line: str) -> str:
    return _INLINE.sub(
        lambda found: "&lt;" if found[0] == "<" else f"\\{found[0]}", line
    )  # a backslash of the text may stand before


_ENVIRONMENT: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("lifecycle.documents", "templates"),
    autoescape=jinja2.select_autoescape(("html.j2",)),
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters["cell"] = _cell
_ENVIRONMENT.filters["line"] = _line
