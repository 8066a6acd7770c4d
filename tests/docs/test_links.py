"""Links and paths lead somewhere."""

import re

import pytest

from tests.docs.pages import PAGES, ROOT, anchors, links, name


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_resolve(page):
    broken = []
    for link in links(page):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert not broken, f"{name(page)}: {broken}"


@pytest.mark.heavy
def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [p for p in PAGES if p.name == "README.md" and "docs" not in p.parts]
    while waiting:
        page = waiting.pop()
        if page in reached or not page.is_file():
            continue
        reached.add(page)
        waiting += [
            (page.parent / link.partition("#")[0]).resolve() for link in links(page) if link.partition("#")[0].endswith(".md")
        ]
    assert not sorted(name(p) for p in set(PAGES) - reached - {p for p in PAGES if p.name == "CHANGELOG.md"})


def test_the_index_of_decisions_has_every_record_with_its_title():
    folder = ROOT / "docs" / "decisions"
    index = re.findall(r"^- \[(\d{4})\]\((\S+)\) (.+)$", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    titles = [(path, path.read_text(encoding="utf-8").partition("\n")[0]) for path in sorted(folder.glob("0*.md"))]
    assert [(f"# {number} {title}", file) for number, file, title in index] == [(title, path.name) for path, title in titles]


def test_the_index_of_decisions_names_the_numbers_that_no_record_has():
    folder = ROOT / "docs" / "decisions"
    taken = {path.name[:4] for path in folder.glob("0*.md")}
    free = [number for n in range(1, int(max(taken))) if (number := f"{n:04}") not in taken]
    (said,) = re.findall(
        r"The numbers ([\d, and]+) were never given to a record", (folder / "README.md").read_text(encoding="utf-8")
    )
    assert re.findall(r"\d{4}", said) == free


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=name)
def test_paths_of_code_exist(page):
    paths = re.findall(
        r"`((?:serving|operators|lifecycle|loadtests|feature_repo|tests|manifests|docs)/[\w./-]*)`",
        page.read_text(encoding="utf-8"),
    )
    gone = sorted({path for path in paths if not (ROOT / path).exists()})
    assert not gone, f"{name(page)} names files that are not there: {gone}"
