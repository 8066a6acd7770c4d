"""The documentation site: what its build refuses, and how its hooks read pages. `make check` builds it, strictly."""

from pathlib import Path, PurePosixPath

import pytest
from mkdocs.config.defaults import MkDocsConfig

from tests.docs.pages import PAGES, name
from tests.docs.site import build, hooks

OPENS = ("For ",)
"""How the first paragraph of a page begins: it says who the page is for and what they will have."""
INDEXED = [p for p in PAGES if p.name != "CHANGELOG.md" and "decisions" not in p.parts and name(p) != "README.md"]


def config(**extra: str) -> MkDocsConfig:
    made = MkDocsConfig()
    made.load_dict({"site_name": "x", "docs_dir": str(build.ROOT / "docs"), "extra": extra})
    return made


def linked(text: str, source: str = "how-to/README.md", **extra: str) -> str:
    found = config(**extra)
    return hooks._LINK.sub(lambda match: hooks._link(match, PurePosixPath(source), found), text)


@pytest.mark.parametrize(
    ("file", "text", "asked"),
    [
        pytest.param("a.html", '<script src="https://cdn.example.com/x.js"></script>', True, id="a script elsewhere"),
        pytest.param("a.html", '<link rel="stylesheet" href="//fonts.example.com/css">', True, id="a style of the same scheme"),
        pytest.param("a.html", '<img alt="" srcset="https://example.com/a.png 2x">', True, id="a picture for fine screens"),
        pytest.param("a.html", '<img alt="" srcset="a.png 1x, https://example.com/a.png 2x">', True, id="a second picture"),
        pytest.param("a.html", "<script>fetch('https://count.example.com/')</script>", True, id="a script within a page"),
        pytest.param("a.html", '<p style="background:url(https://example.com/a.png)">', True, id="a style within an element"),
        pytest.param("a.html", "<style>@import 'https://example.com/a.css';</style>", True, id="a style within a page"),
        pytest.param("a.css", "@font-face{src:url(https://fonts.example.com/a.woff2)}", True, id="a font"),
        pytest.param("a.js", 'fetch("https://count.example.com/visit")', True, id="an address in a script"),
        pytest.param("a.svg", '<svg><image href="https://example.com/a.png"/></svg>', True, id="a picture in a picture"),
        pytest.param("a.html", '<a href="https://example.com">there</a><img src="a.png">', False, id="a link for people"),
        pytest.param("a.html", '<script src="assets/x.js"></script>', False, id="a script of the site"),
        pytest.param("a.svg", '<svg xmlns="http://www.w3.org/2000/svg"/>', False, id="a name space"),
    ],
)
def test_a_page_asks_no_other_host(tmp_path: Path, file: str, text: str, asked: bool):
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert bool(list(build.foreign(tmp_path))) is asked


@pytest.mark.parametrize(
    ("said", "read"),
    [
        pytest.param("[access](../reference/access.md#roles)", "[access](../reference/access.md#roles)", id="pages are mkdocs' own"),
        pytest.param("[ports](../../serving/ports.py)", "ports (`serving/ports.py`)", id="code becomes text with its path"),
        pytest.param("[serving/ports.py](../../serving/ports.py)", "serving/ports.py", id="but a path says itself"),
        pytest.param("[log](../../CHANGELOG.md)", "[log](../changelog.md)", id="the changelog is a page of the site"),
        pytest.param("[start](../../README.md)", "[start](../index.md)", id="the README is the site's start"),
        pytest.param("[x](https://example.com/a.py)", "[x](https://example.com/a.py)", id="other hosts are left alone"),
    ],
)  # fmt: skip
def test_links_to_code(said: str, read: str):
    assert linked(said) == read


def test_links_to_code_lead_to_its_address_where_there_is_one():
    assert linked("[p](../../serving/ports.py#L3)", code_url="https://git.example.com/v/") == (
        "[p](https://git.example.com/v/serving/ports.py#L3)"
    )


def test_a_link_to_code_that_is_gone_is_a_warning_which_ends_a_strict_build(caplog: pytest.LogCaptureFixture):
    linked("[gone](../../serving/gone.py)")
    assert "leads nowhere" in caplog.text


@pytest.mark.parametrize(
    ("said", "read"),
    [
        pytest.param("Two things:\n- one\n- two", "Two things:\n\n- one\n- two", id="a list after a line"),
        pytest.param("- one\n  more\n- two", "- one\n  more\n- two", id="a line within an item"),
        pytest.param("- one\nlazily\n- two", "- one\nlazily\n- two", id="a line that goes on without indentation"),
        pytest.param("```\nx\n- one\n```", "```\nx\n- one\n```", id="not in a fenced block"),
    ],
)
def test_lists_are_read_as_on_git_hosts(said: str, read: str):
    assert hooks.with_lists(said) == read


def test_abbreviations_of_the_glossary_are_explained_on_every_page():
    assert "*[SOC]: Security operations centre: the people who watch for attacks" in hooks._abbreviations(build.ROOT / "docs")


def test_the_navigation_has_every_page_of_an_index_once():
    nav = hooks.on_config(config()).nav
    assert nav is not None
    places = list(leaves(nav))
    assert len(places) == len(set(places))
    docs = build.ROOT / "docs"
    assert {page.relative_to(docs).as_posix() for page in PAGES if page.is_relative_to(docs)} <= set(places)


def leaves(entry: object):
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, dict):
        for value in entry.values():
            yield from leaves(value)
    elif isinstance(entry, list):
        for value in entry:
            yield from leaves(value)


@pytest.mark.parametrize("page", INDEXED, ids=name)
def test_a_page_opens_with_who_it_is_for(page: Path):
    title, empty, first, *_ = page.read_text(encoding="utf-8").split("\n")
    assert title.startswith("# ")
    assert not empty
    assert first.startswith(OPENS), f"{name(page)} begins {first!r}; say who it is for and what they will have: For ..."


def test_the_readme_is_short():
    assert len((build.ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 100


@pytest.mark.heavy
def test_a_link_or_an_anchor_that_leads_nowhere_and_a_page_that_nobody_lists_end_a_build(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# A\n\n[b](b.md) [c](c.md#nowhere)\n", encoding="utf-8")
    (tmp_path / "docs" / "c.md").write_text("# C\n", encoding="utf-8")
    rules = (build.ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nvalidation:")[2]
    config = tmp_path / "mkdocs.yml"
    config.write_text(
        f"site_name: x\nnav: [index.md]\ntheme: {{name: mkdocs}}\nplugins: []\nvalidation:{rules}", encoding="utf-8"
    )
    said = "\n".join(build.strictly(config, tmp_path / "site"))
    assert "c.md" in said
    assert "nowhere" in said
    assert "b.md" in said


def test_a_build_is_left_out_while_nothing_has_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    built: list[str] = []
    monkeypatch.setattr(build, "SITE", tmp_path)
    monkeypatch.setattr(build, "STAMP", tmp_path / "digest")
    monkeypatch.setattr(build, "build", lambda: built.append("built") or [])
    monkeypatch.setattr("sys.argv", ["build", "--if-changed"])
    assert build.main() == 0
    build.STAMP.write_text(build.digest(), encoding="utf-8")
    assert build.main() == 0
    assert built == ["built"]
