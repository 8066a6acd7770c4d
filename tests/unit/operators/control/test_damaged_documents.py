"""A service document that somebody edited into something that is none: it is named, with its file."""

import pytest

from operators.control.folder import ControlFolder
from operators.control.port import DamagedState
from tests.fakes.operator.control_place import Place, document, revision
from tests.wrong_yaml import TEXTS


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"a: [", id="no YAML"),
        pytest.param(b"a: 2026-99-99", id="a date that there is not"),
        pytest.param(b"a: \xff", id="no UTF-8"),
        pytest.param(b"[\n" * 100_000, id="nested without end"),
        *[pytest.param(text.encode(), id=name) for name, text in TEXTS.items()],
    ],
)
def test_a_document_that_is_none_is_named(place: Place, body: bytes):
    place.folder.change("ids", lambda _: document(revision(1)))
    (path,) = place.store_dir.rglob("ids.yaml")
    path.write_bytes(body)
    with pytest.raises(DamagedState, match=r"ids\.yaml: is not YAML"):
        ControlFolder(place.store_dir).service("ids")
