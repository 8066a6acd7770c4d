"""How many examples a law is judged on, and that `make soak` finds every law."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import laws
from tests.surroundings import ROOT

COUNTS = """
import sys
from hypothesis import settings
from tests import laws
for profile in sys.argv[1:]:
    laws.load_profile(profile)
    print(settings().max_examples, laws.count(200), laws.count(20), laws.count(5), laws.share(300, 5), laws.long(600).max_examples)
"""
PROFILES = {"dev": "12 25 10 5 5 10", "ci": "25 50 10 5 5 18", "soak": "100 200 20 5 300 600"}


@pytest.fixture(scope="module")
def counted() -> dict[str, str]:
    """By profile what a Python of its own says: this one keeps the profile that it has."""
    command = [sys.executable, "-c", COUNTS, *PROFILES]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=True)
    return dict(zip(PROFILES, done.stdout.splitlines(), strict=True))


@pytest.mark.heavy
@pytest.mark.parametrize(("profile", "expected"), PROFILES.items())
def test_each_profile_judges_its_share(counted: dict[str, str], profile: str, expected: str):
    assert counted[profile] == expected


@given(st.integers())
def test_a_law(number: int):
    assert laws.is_law(test_a_law)


def test_soak_finds_every_law_by_its_marker(request: pytest.FixtureRequest):
    found = {
        item.name: item.get_closest_marker("law") for item in request.session.items if laws.is_law(getattr(item, "obj", None))
    }
    assert "test_a_law" in found
    assert None not in found.values()
