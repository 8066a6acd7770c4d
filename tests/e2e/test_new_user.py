"""The README's own command, typed as it stands: a first verdict."""

import pytest

from tests.docs.pages import ROOT, commands
from tests.e2e.running.how_to import Reader, outputs
from tests.e2e.running.vedette import Vedette

pytestmark = pytest.mark.e2e


def test_the_curl_of_the_readme_gives_a_verdict(vedette: Vedette):
    (curl,) = [command for command in commands(ROOT / "README.md") if command.startswith("curl")]
    assert "http://127.0.0.1:8080" in curl
    answered = outputs(Reader(vedette.store.parent, vedette).says(curl))
    assert set(answered["verdict"]) <= {"benign", "investigate", "alert"}
