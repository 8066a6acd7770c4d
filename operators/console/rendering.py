"""Templates to HTML, escaped by default, and the fixed map of static files. The one user of Jinja2 in this room."""

import functools
import hashlib
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import jinja2

from operators.console.page import ConsolePage

_HERE: Final = Path(__file__).parent
_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


class StaticFile:
    """A file of the console. tag: of its content; it stands in its address, so browsers may keep the file."""

    __slots__ = ("body", "media_type", "tag")

    def __init__(self, path: Path) -> None:
        self.body, self.media_type = path.read_bytes(), _TYPES[path.suffix]
        self.tag = hashlib.sha256(self.body).hexdigest()[:16]


class Rendering:
    """The templates of the console and of its pages."""

    def __init__(self, pages: Iterable[ConsolePage]) -> None:
        pages = tuple(pages)
        self._environment = _environment(tuple(page.room for page in pages))
        shared = {name: _HERE / "static" / name for name in ("console.css", "console.js", "icon.svg")}
        own = {f"{page.room}/{name}": _HERE / page.room / "static" / name for page in pages for name in page.scripts}
        self.files: Mapping[str, StaticFile] = {name: StaticFile(path) for name, path in (shared | own).items()}

    def warm(self) -> None:
        """Compile every template, so that no visitor waits for it: 9 ms each."""
        for name in self._environment.list_templates():
            self._environment.get_template(name)

    def html(self, template: str, values: Mapping[str, Any]) -> str:
        """A template filled with values."""
        return self._environment.get_template(template).render(values)


@functools.cache
def _environment(rooms: tuple[str, ...]) -> jinja2.Environment:
    """The templates of these rooms; one for all consoles of a process."""
    loaders = {room: jinja2.FileSystemLoader(_HERE / room / "templates") for room in rooms}
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.FileSystemLoader(_HERE / "templates"), jinja2.PrefixLoader(loaders)]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
    )
    made.filters.update(ago_from=_ago_from, day=_day, number=_number, percent=_percent)
    return made


def _ago_from(now: datetime, at: datetime) -> str:
    """How long before `now` something was, in one unit.

    >>> from datetime import timedelta
    >>> _ago_from(datetime(2026, 1, 2), datetime(2026, 1, 2) - timedelta(minutes=5))
    '5 min ago'
    """
    seconds = max((now - at).total_seconds(), 0.0)
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _number(value: float | int | None, digits: int = 3) -> str:
    """A figure for people: whole numbers with separators, others with so many significant digits, very large ones with their power of ten.

    >>> _number(0.12345), _number(1234.5), _number(999.7), _number(4.9e6), _number(-4.9e6), _number(12_345)
    ('0.123', '1,234', '1,000', '4.9e6', '-4.9e6', '12,345')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) < 10**digits - 0.5:
        return f"{value:.{digits}g}"
    return f"{value:,.0f}" if abs(value) < 999_999.5 else f"{value:.1e}".replace("e+0", "e").replace("e+", "e")


def _percent(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}%}".replace("%", " %")
