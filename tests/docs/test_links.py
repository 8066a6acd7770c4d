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


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=name)
def test_paths_of_code_exist(page):
    paths = re.findall(
        r"`((?:serving|operators|lifecycle|loadtests|feature_repo|tests|manifests|docs)/[\w./-]*)`",
        page.read_text(encoding="utf-8"),
    )
    gone = sorted({path for path in paths if not (ROOT / path).exists()})
    assert not gone, f"{name(page)} names files that are not there: {gone}"
