"""A scorer of Spark's workers leaves nothing when it cannot begin or cannot end well: no folder, no thread."""

import tempfile

import pytest

from serving.batch.spark import _BundleScorer
from serving.models.build import build_bundle
from tests.unit.serving.scoring.variants import POINT, graph


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    points = {"operating_points": {"all": POINT}, "default_operating_point": "all"}
    build_bundle(tmp_path / "bundle", model=graph(1.0), name="m", version="1", score={"output": "risk"}, **points)
    return str(tmp_path / "bundle")


class _Composition:
    """A service that loads whatever it is told, and cannot be closed."""

    def __init__(self):
        self.service = self

    async def apply(self, spec):
        pass

    def is_ready(self):
        return True

    async def close(self):
        raise OSError(28, "No space left on device")


def test_one_that_cannot_begin_leaves_no_folder(tmp_path, bundle):
    async def refuse(settings, *, reader):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left") as told:
        _BundleScorer(bundle, refuse, None)
    assert list((tmp_path / "scratch").iterdir()) == [], told  # with its traceback, which keeps what nobody removed


def test_one_that_cannot_end_well_leaves_no_folder_and_no_thread(tmp_path, bundle):
    async def compose(settings, *, reader):
        return _Composition()

    scorer = _BundleScorer(bundle, compose, None)
    with pytest.raises(OSError, match="No space left"):
        scorer.close()
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not scorer._scorer._thread.is_alive()
