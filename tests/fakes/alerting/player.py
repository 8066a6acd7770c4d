"""A page of metrics on which recorded series play: each scrape shows their next values, and stays at the last."""

from collections.abc import Iterator, Mapping


def values(text: str) -> Iterator[float | None]:
    """The values of promtool's notation: `1`, `0x9`, `0+5x40`, `200-5x40`, `_x3`; None where there is none."""
    for part in text.split():
        if part.startswith("_"):
            yield from [None] * int(part.partition("x")[2] or 1)
            continue
        start, _, count = part.partition("x")
        sign = max(start.rfind("+"), start.rfind("-", 1))
        first, step = (float(start[:sign]), float(start[sign:])) if sign > 0 else (float(start), 0.0)
        for n in range(int(count or 0) + 1):
            yield first + step * n


class Player:
    """series: name with labels -> values."""

    def __init__(self, series: Mapping[str, str]) -> None:
        self._values = {name: list(values(text)) for name, text in series.items()}
        self._scrapes = 0

    def render(self) -> bytes:
        """The page of the next scrape."""
        at, self._scrapes = self._scrapes, self._scrapes + 1
        now = {name: found[min(at, len(found) - 1)] for name, found in self._values.items()}
        return "".join(f"{name} {value}\n" for name, value in now.items() if value is not None).encode()
