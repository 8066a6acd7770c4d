"""What mkdocs does with the pages of docs/ beyond reading them; mkdocs.yml names this file.

- The navigation follows the index pages (README.md of each folder): their links in their order, their bold lines as groups.
- A link to a file outside of docs/ becomes a link to `extra.code_url`, or text where that is empty.
- Lists are read as GitHub reads them: python-markdown wants an empty line before a list.
- Abbreviations of the glossary say what they stand for.
- The search of other languages is left out of the built site.

mkdocs loads this file by its path, so it imports nothing of this repository."""

import logging
import os
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parents[3]
SECTIONS: Final = (("Tutorials", "tutorials"), ("How-to guides", "how-to"), ("Reference", "reference"))
"""Title in the navigation, and folder of docs/ whose README.md is the index."""
PLANES: Final = ("serving", "feature_repo", "lifecycle", "operators")
CHANGELOG: Final = "changelog.md"
"""The page that is made of the file at the top of the repository."""

_log = logging.getLogger("mkdocs.hooks.vedette")
_FENCE = re.compile(r"^( *)(```+|~~~+)")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\]|!\[[^\]]*\]\([^)]*\))*)\]\(([^)\s]+)\)")
_GROUP = re.compile(r"^\*\*(.+?)\*\*$")
_ITEM = re.compile(r"^( *)(?:[-*]|\d+\.) ")
_SECTION = re.compile(r'(<nav class="md-nav" data-md-level="1" )aria-labelledby="__nav_(\d+)_label"')
_SCHEME = re.compile(r"^[a-z][a-z+.-]*:")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the navigation."""
    docs = Path(config.docs_dir)
    config.nav = [
        {"Start": "index.md"},
        *({title: _section(docs, folder)} for title, folder in SECTIONS if (docs / folder).is_dir()),
        {"Architecture": ["architecture.md", *(f"architecture/{plane}.md" for plane in PLANES)]},
        {"Decisions": _section(docs, "decisions")},
        {"Changelog": CHANGELOG},
    ]  # fmt: skip
    return config


def _section(docs: Path, folder: str) -> list[Any]:
    """The index, then the pages that it links to, each once; a bold line begins a group."""
    index = docs / folder / "README.md"
    entries: list[Any] = [f"{folder}/README.md"]
    place, seen = entries, {index.resolve()}
    for line, is_code in _told_apart(index.read_text(encoding="utf-8")):
        if is_code:
            continue
        heading = _GROUP.match(line)
        if heading:
            place = []
            entries.append({heading[1]: place})
        for _, label, target in _LINK.findall(line):
            page = (index.parent / target.partition("#")[0]).resolve()
            if page.suffix == ".md" and page not in seen and page.is_relative_to(docs / folder):
                seen.add(page)
                place.append({_plain(_title(page) or label): page.relative_to(docs).as_posix()})
    return [entry for entry in entries if not isinstance(entry, dict) or all(entry.values())]


def _title(page: Path) -> str:
    first = page.read_text(encoding="utf-8").partition("\n")[0] if page.is_file() else ""
    return first.removeprefix("# ").strip()


def _plain(text: str) -> str:
    return text.replace("`", "")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the changelog, which lies beside docs/."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    files.append(File.generated(config, CHANGELOG, content=text.replace("](docs/", "](")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links and lists of one page."""
    source = PurePosixPath(page.file.src_uri)
    out = [
        line if is_code else _LINK.sub(lambda match: _link(match, source, config), line)
        for line, is_code in _told_apart(with_lists(markdown))
    ]
    return "\n".join([*out, "", *_abbreviations(Path(config.docs_dir))]) + "\n"


@cache
def _abbreviations(docs: Path) -> tuple[str, ...]:
    """Of the glossary, as definitions that a page shows where the abbreviation stands in its text."""
    text = (
        (docs / "reference" / "glossary.md")
        .read_text(encoding="utf-8")
        .partition("\n## Abbreviations\n")[2]
        .partition("\n## ")[0]
    )
    return tuple(f"*[{short}]: {words}" for short, words in re.findall(r"^\| ([A-Z]+) \| (.+) \|$", text, re.MULTILINE))


def with_lists(markdown: str) -> str:
    """An empty line before each list."""
    out: list[str] = []
    for line, is_code in _told_apart(markdown):
        item = None if is_code else _ITEM.match(line)
        if item and not item[1] and out and out[-1].strip() and not _in_item(out):
            out.append("")
        out.append(line)
    return "\n".join(out)


def _told_apart(text: str) -> Iterator[tuple[str, bool]]:
    """Lines, and whether each belongs to a fenced block."""
    fence = ""
    for line in text.splitlines():
        found = _FENCE.match(line)
        if found and not fence:
            fence = found[2]
            yield line, True
        elif found and line.strip() == fence:
            fence = ""
            yield line, True
        else:
            yield line, bool(fence)


def _in_item(lines: list[str]) -> bool:
    """Whether the last paragraph began as an item of a list: its lines may go on without indentation."""
    for line in reversed(lines):
        if not line.strip():
            return False
        if _ITEM.match(line):
            return True
    return False


def _link(match: re.Match[str], source: PurePosixPath, config: MkDocsConfig) -> str:
    picture, label, target = match.groups()
    path, _, anchor = target.partition("#")
    if not path or _SCHEME.match(target):
        return match[0]
    where = os.path.normpath(ROOT / "docs" / source.parent / path)
    inside = os.path.relpath(where, ROOT)
    if inside == "CHANGELOG.md":
        return f"{picture}[{label}]({os.path.relpath(CHANGELOG, source.parent)})"
    if inside == "README.md":
        return f"{picture}[{label}]({os.path.relpath('index.md', source.parent)})"
    if inside.startswith("docs/") or inside == "docs":
        return match[0]  # mkdocs finds and checks it
    if inside.startswith("..") or not Path(where).exists():
        _log.warning("%s: the link to %s leads nowhere", source, target)
        return match[0]
    code_url = str(config.extra.get("code_url") or "")
    if code_url:
        return f"{picture}[{label}]({code_url.rstrip('/')}/{inside}{'#' + anchor if anchor else ''})"
    return label if inside.rstrip("/") in _plain(label) else f"{label} (`{inside}`)"


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Names for the theme's search and for its list of a section's pages, for people who hear the page."""
    named = output.replace(
        'data-md-component="search" role="dialog">', 'data-md-component="search" role="dialog" aria-label="Search">'
    )
    return _SECTION.sub(r'\1aria-label="Section \2"', named)


def on_post_build(config: MkDocsConfig) -> None:
    """Search in English needs no word lists of other languages, half of the site's scripts."""
    shutil.rmtree(Path(config.site_dir) / "assets" / "javascripts" / "lunr", ignore_errors=True)
