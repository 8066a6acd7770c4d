"""Bandit as `make check` runs it finds what it should, and looks again at what changed."""

import pytest

from tests.house import ROOT
from tests.security.code import judge, marks


@pytest.mark.heavy
def test_an_insecure_call_is_found(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("import yaml\n\n\ndef read(text):\n    return yaml.load(text, Loader=yaml.Loader)\n", encoding="utf-8")

    passed, said = judge([bad])

    assert not passed
    assert "B506" in said


@pytest.mark.heavy
def test_a_reason_in_the_line_is_taken(tmp_path):
    said_so = tmp_path / "said_so.py"
    said_so.write_text("import random\n\nCOIN = random.random()  # nosec B311  # a coin\n", encoding="utf-8")

    assert judge([said_so]) == (True, "")


def test_what_changed_is_looked_at_again():
    here, there = ROOT / "tests" / "house.py", ROOT / "tests" / "waiting.py"

    assert marks([here], b"1") != marks([here], b"2")
    assert marks([here, there], b"1")[here] != marks([here, there], b"1")[there]
