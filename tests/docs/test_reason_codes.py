"""The page of reason codes: every code on it is declared, and it says what the detectors say today."""

import os
import re
from pathlib import Path

import pytest

from feature_repo.flows import FLOWS
from lifecycle.datasets.declarations import read_detector
from lifecycle.datasets.reasons import explain_spec
from tests.docs import reason_codes
from tests.docs.pages import generated_part


def part(name: str) -> str:
    found = generated_part(reason_codes.PAGE.read_text(encoding="utf-8"), name)
    assert found is not None
    return found[0]


@pytest.mark.parametrize("name", reason_codes.DETECTORS)
def test_every_code_of_the_page_is_one_of_the_detector(name):
    detector = read_detector(name)
    columns = FLOWS.features() if name == "flows" else tuple(detector.request_fields)
    declared = {reason.code for reason in explain_spec(detector.reasons, columns).reasons.values()}
    said = set(re.findall(r"^- `([A-Z0-9_]+)` \d+%: ", part(name), re.MULTILINE))
    assert len(said) > 8
    assert said <= declared
    assert re.findall(r"^\*\*(\d+)\. ", part(name), re.MULTILINE) == [str(n + 1) for n in range(reason_codes.ROWS)]


@pytest.mark.soak
@pytest.mark.parametrize("name", reason_codes.DETECTORS)
def test_the_page_is_what_the_detectors_say_today(name):
    folder = os.environ.get("VEDETTE_DATA_DIR")
    if not folder:
        pytest.skip("needs real data: set VEDETTE_DATA_DIR to the folder with flows/ and nsl-kdd/")
    assert part(name) == reason_codes.part_of(name, Path(folder)), "run: python -m tests.docs.reason_codes"
