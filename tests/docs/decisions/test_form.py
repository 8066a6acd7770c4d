"""Every decision says what the problem was, what was decided, what else was possible, and what follows from it."""

import re

import pytest

from tests.docs.pages import ROOT, name

HEADS = {"Context", "Decision", "Options", "Consequences"}
RECORDS = sorted((ROOT / "docs" / "decisions").glob("0*.md"))

_HEAD = re.compile(r"^(?:## |\*\*)(\w+)", re.MULTILINE)


@pytest.mark.parametrize("record", RECORDS, ids=name)
def test_a_decision_has_the_four_heads(record):
    """A head opens a section (`## Options`) or a paragraph (`**Options for the archive.**`)."""
    assert set(_HEAD.findall(record.read_text(encoding="utf-8"))) >= HEADS, f"{name(record)} needs the heads {sorted(HEADS)}"
