"""The documentation as text: which pages there are, their links, commands and generated parts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = tuple(sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("[!.]*/README.md")]))

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    language: str
    text: str


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    for match in _FENCE.finditer(page.read_text(encoding="utf-8")):
        yield Block(page, match[1], match[2])


def commands(page: Path) -> Iterator[str]:
    """Every command line in the page's sh blocks, continued lines joined, comments off."""
    for block in blocks(page):
        if block.language == "sh":
            yield from commands_of(block)


def commands_of(block: Block) -> Iterator[str]:
    """The command lines of one block."""
    for line in block.text.replace("\\\n", " ").splitlines():
        command = re.sub(r"(^|\s)#.*$", "", line).strip()
        if command:
            yield command


def links(page: Path) -> Iterator[str]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for match in _LINK.finditer(text):
        yield match[1] or match[2]


def anchors(page: Path) -> set[str]:
    """Anchors as GitHub makes them from headings."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", h.replace("`", "").lower()).replace(" ", "-") for h in _HEADING.findall(text)}


def generated_part(text: str, part: str) -> re.Match[str] | None:
    """What stands between `<!-- generated: PART -->` and `<!-- end -->`."""
    return re.search(rf"(?<=<!-- generated: {re.escape(part)} -->\n)(.*?)(?=<!-- end -->)", text, re.DOTALL)


class Shown(NamedTuple):
    """Commands of a page, and the abridged output that it shows below them."""

    commands: tuple[str, ...]
    lines: tuple[str, ...]

    def differs(self, said: str) -> list[str]:
        """Shown lines that were not said, in this order; `...` stands for anything, and spaces for any spaces."""
        left = [" ".join(line.split()) for line in said.splitlines()]
        missing = []
        for line in self.lines:
            wanted = re.compile(
                r"\s*".join(map(re.escape, re.split(r"\s*\.\.\.\s*", " ".join(line.split())))).replace(r"\s*", ".*")
            )
            at = next((n for n, one in enumerate(left) if wanted.fullmatch(one)), None)
            if at is None:
                missing.append(line)
            else:
                left = left[at + 1 :]
        return missing


def outputs_shown(page: Path) -> Iterator[Shown]:
    """Each `text` block of a page, with the commands since the one before; then the commands after the last."""
    typed: list[str] = []
    for block in blocks(page):
        if block.language == "sh":
            typed += commands_of(block)
        elif block.language == "text":
            yield Shown(tuple(typed), tuple(block.text.splitlines()))
            typed = []
    yield Shown(tuple(typed), ())


def files(page: Path) -> dict[str, str]:
    """Files that a page asks its reader to make: a block after a line that ends in `NAME`:"""
    found = re.finditer(
        r"`([\w./-]+)`[^\n`]*:\n\n```\w+\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return {match[1]: match[2] for match in found}
