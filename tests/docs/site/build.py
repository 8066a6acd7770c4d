"""Build the documentation site, strictly: `python -m tests.docs.site.build`, into build/site.

--if-changed builds only if something that the site is made of has changed since the last good build; `make check` says so, because a
build takes seconds. --serve shows the site on loopback and builds again when a page changes. A site that would ask another host for
anything is refused: people read it where there is no internet, and nobody else should learn what they read."""

import argparse
import fcntl
import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[3]
SITE: Final = ROOT / "build" / "site"
STAMP: Final = ROOT / "build" / "site.digest"
MADE_OF: Final = ("mkdocs.yml", "CHANGELOG.md", "docs", "tests/docs/site")
PACKAGES: Final = ("mkdocs", "mkdocs-material", "markdown", "pymdown-extensions")

NEVER_ASKED: Final = (
    "https://api.github.com/",  # only if repo_url is set; it is not
    "https://unpkg.com/mermaid@",  # only on a page with a diagram of mermaid; there is none
    "https://unpkg.com/resize-observer-polyfill",  # only by browsers of before 2020
    "https://bit.ly/",  # in a warning of the search for programmers
)
"""Addresses in the theme's scripts that these pages give no cause to ask, and why."""

_ASSETS: Final = {
    "script": ("src",), "img": ("src", "srcset"), "iframe": ("src",), "source": ("src", "srcset"), "video": ("src", "poster"),
    "audio": ("src",), "embed": ("src",), "object": ("data",), "link": ("href",), "form": ("action",), "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}  # fmt: skip
"""Elements and attributes that make a browser ask for something. `a` is not among them: people choose to follow it."""
_OTHER = re.compile(r"^\s*(?:[a-z][a-z+.-]*:)?//", re.IGNORECASE)
_CSS = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])((?:[a-z]+:)?//[^"')\s]+)""", re.IGNORECASE)
_ADDRESS = re.compile(r"https?://[\w./@-]+")
_STYLES = re.compile(r"<style.*?</style>", re.DOTALL)
_SCRIPTS = re.compile(r"<script[^>]*>(.*?)</script>", re.DOTALL)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_NAMES_ONLY = re.compile(r"^https?://(?:www\.w3\.org|localhost|127\.0\.0\.1)\b")


class _Assets(HTMLParser):
    """Collects what one page makes a browser ask another host for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One element."""
        given = dict(attrs)
        if tag == "link" and given.get("rel") in {"canonical", "next", "prev"}:
            return  # says where a page is; nothing is loaded
        asked = [one for name in _ASSETS.get(tag, ()) for one in (given.get(name) or "").split(",")]  # a srcset names several
        self.found += [one for one in asked if _OTHER.match(one)]
        self.found += _CSS.findall(given.get("style") or "")


def _addresses(script: str) -> list[str]:
    """Addresses in a script, comments and those that are never asked aside."""
    return [a for a in _ADDRESS.findall(_COMMENT.sub("", script)) if not a.startswith(NEVER_ASKED) and not _NAMES_ONLY.match(a)]


def foreign(site: Path) -> Iterator[str]:
    """What the pages, styles, pictures and scripts of a built site ask another host for, in words."""
    for path in sorted(site.rglob("*")):
        if path.suffix not in {".html", ".css", ".svg", ".js"}:
            continue
        text = path.read_text(encoding="utf-8")
        found: list[str] = []
        if path.suffix == ".js":
            found = _addresses(text)
        elif path.suffix == ".css":
            found = _CSS.findall(text)
        else:
            page = _Assets()
            page.feed(text)
            found = page.found + [a for style in _STYLES.findall(text) for a in _CSS.findall(style)]
            found += [a for script in _SCRIPTS.findall(text) for a in _addresses(script)]
        yield from (f"{path.relative_to(site)} asks another host for {address}" for address in found)


def digest() -> str:
    """Of everything that the site is made of."""
    total = hashlib.sha256()
    for name in PACKAGES:
        total.update(f"{name} {importlib.metadata.version(name)}\n".encode())
    for name in MADE_OF:
        top = ROOT / name
        for path in sorted(
            p for p in ([top] if top.is_file() else top.rglob("*")) if p.is_file() and "__pycache__" not in p.parts
        ):
            total.update(f"{path.relative_to(ROOT)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def _mkdocs(*arguments: str, **how: Any) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-m", "mkdocs", *arguments]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(program, cwd=ROOT, check=False, text=True, env=env, **how)


def strictly(config: Path, site: Path) -> list[str]:
    """Build what a mkdocs.yml says; the warnings, each of which ends the build. `--quiet` would keep them from being counted."""
    done = _mkdocs("build", "--strict", "--config-file", str(config), "--site-dir", str(site), capture_output=True)
    said = (done.stdout + done.stderr).splitlines()
    if done.returncode == 0:
        return []
    return [line for line in said if line.startswith(("WARNING", "ERROR"))] or said or [f"mkdocs ended with {done.returncode}"]


def build() -> list[str]:
    """Build it; what is wrong with it, in words."""
    STAMP.unlink(missing_ok=True)
    before = digest()
    wrong = strictly(ROOT / "mkdocs.yml", SITE) or list(foreign(SITE))
    if not wrong:
        STAMP.write_text(before, encoding="utf-8")
    return wrong


def is_current() -> bool:
    """Whether the last good build was of what is there now."""
    return SITE.is_dir() and STAMP.is_file() and STAMP.read_text(encoding="utf-8") == digest()


def built_once() -> list[str]:
    """Build it if something has changed; one process at a time. What is wrong with it, in words."""
    STAMP.parent.mkdir(exist_ok=True)
    with STAMP.with_suffix(".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return [] if is_current() else build()


def main() -> int:
    """Build or serve; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--if-changed", action="store_true", help="build only if something has changed since the last good build"
    )
    parser.add_argument(
        "--serve", action="store_true", help="show it on loopback until Ctrl-C, and build again when a page changes"
    )
    parser.add_argument("--port", type=int, default=8000, help="with --serve: the port (default: 8000)")
    asked = parser.parse_args()
    if asked.serve:
        return _mkdocs("serve", "--dev-addr", f"127.0.0.1:{asked.port}").returncode
    wrong = built_once() if asked.if_changed else build()
    for fault in wrong:
        print(fault)
    if not wrong and not asked.if_changed:
        print(f"{SITE / 'index.html'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
