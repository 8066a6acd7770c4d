"""What kustomize renders, whole, as golden files. A changed golden file is what a reviewer should read.

After a wanted change: VEDETTE_UPDATE_GOLDEN=1 python -m pytest tests/manifests/test_golden.py"""

import os
from pathlib import Path

import pytest

from tests.manifests.conftest import (
    BATCH,
    CONSOLE,
    FRONTED,
    KSERVE,
    KUSTOMIZATIONS,
    LABELS,
    MONITOR,
    OPERATED,
    OPERATORS,
    OTHERS,
    SINKS,
    STAGING,
    STREAM,
)

GOLDEN = Path(__file__).parent / "golden"


def without_definitions(text):
    """The CRDs are reviewed where they are written, in manifests/crds."""
    return "---\n".join(part for part in text.split("---\n") if "\nkind: CustomResourceDefinition\n" not in part)


ALL = (
    *KUSTOMIZATIONS,
    OPERATED,
    FRONTED,
    KSERVE,
    MONITOR,
    LABELS,
    CONSOLE,
    SINKS,
    STREAM,
    STAGING,
    *BATCH,
    *OPERATORS,
    *OTHERS,
)


@pytest.mark.parametrize("name", ALL)
def test_renders_as_reviewed(name, rendered):
    golden = GOLDEN / f"{name.replace('/', '-')}.yaml"
    text = without_definitions(rendered(name))
    if os.environ.get("VEDETTE_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text(encoding="utf-8"), f"{golden.name} is out of date; see this module's first lines"
