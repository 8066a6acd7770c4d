"""The anchors by kind, and checkpoints to keep there."""

import pytest

from serving.audit.checkpoint import Checkpoint
from serving.audit.signed_note import Signer
from tests.contract.serving.anchors.anchor_kinds import KINDS

START_US = 1_700_000_000_000_000


@pytest.fixture(autouse=True)
def _credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(params=KINDS)
def open_anchor_again(request, tmp_path):
    with KINDS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture(scope="session")
def signer(tmp_path_factory):
    return Signer.create(tmp_path_factory.mktemp("keys") / "audit.pem")


@pytest.fixture
def note(signer):
    def make(log="one", segment=1, size=1, at_s=0.0, root=b"\1" * 32):
        time_us = START_US + int(at_s * 1e6)
        return signer.sign(Checkpoint(log, segment, size, root, time_us, 0, None).text())

    return make
