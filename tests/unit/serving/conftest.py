"""What all unit tests of the data plane share."""

import pytest

from serving.loading import loader
from tests.fakes.probes import probe_once


@pytest.fixture(autouse=True)
def _same_bundle_same_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bundle is probed once, in a process of its own as ever, and not again for each test that loads it."""
    monkeypatch.setattr(loader, "probe", probe_once)
