"""The setting VEDETTE_SEGMENTS: a mapping that cannot be used stops no answer, and readiness names it."""

import pytest

from serving.app import open_segments
from serving.segments.mapping import MOST_SEGMENTS
from serving.telemetry.segments import MOST_COUNTED


def mapping_of(count: int) -> str:
    return "entity,unit\n" + "".join(f"h{i},u{i}\n" for i in range(count))


def test_without_the_setting_nothing_is_opened():
    assert open_segments(None) == (None, ())


def test_a_mapping_is_opened(tmp_path):
    path = tmp_path / "units.csv"
    path.write_text(mapping_of(MOST_COUNTED), encoding="utf-8")
    mapping, wrong = open_segments(path)
    assert wrong == ()
    assert mapping is not None
    assert len(mapping.segments) == MOST_COUNTED


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, "cannot be read", id="a file that is not there"),
        pytest.param("host,unit\n", "write the header", id="a file that is no mapping"),
        pytest.param(
            mapping_of(MOST_COUNTED + 1), f"a replica counts at most {MOST_COUNTED}", id="more segments than are counted"
        ),
        pytest.param(mapping_of(MOST_SEGMENTS + 1), "different values", id="identities"),
    ],
)
def test_what_cannot_be_used_is_said_and_left(tmp_path, text, words):
    path = tmp_path / "units.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    mapping, (wrong,) = open_segments(path)
    assert mapping is None
    assert wrong.startswith("segments are not counted: ")
    assert words in wrong
