"""What kustomize renders, whole, as golden files. A changed golden file is what a reviewer should read.

After a wanted change: VEDETTE_UPDATE_GOLDEN=1 python -m pytest tests/manifests/test_golden.py"""

import os
from pathlib import Path

import pytest

from .conftest import KUSTOMIZATIONS

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_renders_as_reviewed(name, rendered):
    golden = GOLDEN / f"{name.replace('/', '-')}.yaml"
    text = rendered(name)
    if os.environ.get("VEDETTE_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text(), f"{golden.name} is out of date; see this module's first lines"
