"""The tutorials, followed to the letter; each shows what its commands print, and they must print that."""

import pytest

from tests.e2e.running.how_to import Reader
from tests.e2e.running.vedette import Vedette

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def reader(vedette: Vedette) -> Reader:
    """In the folder in which the shared `vedette up` was started."""
    return Reader(vedette.store.parent, vedette)


def test_first_verdict(reader: Reader):
    assert len(reader.follows("first-verdict.md")) == 3


def test_first_drift(reader: Reader):
    reader.makes_files("first-drift.md")
    assert len(reader.follows("first-drift.md")) == 1
    assert "<html" in (reader.folder / "drift.html").read_text(encoding="utf-8")
