"""One replica as it is wired: its checkpoints are signed and anchored; a key or an anchor that is out shows, and stops nothing."""

from contextlib import asynccontextmanager

import pytest

from serving.app import compose
from serving.audit.anchors.port import AnchorUrlError
from serving.audit.anchors.urls import open_anchor
from serving.audit.checkpoint import Checkpoint
from serving.audit.keys.trust import Trust
from serving.audit.signed_note import text_of
from serving.settings import ServingSettings
from tests.fakes.serving.records import record
from tests.waiting import until_so

pytestmark = pytest.mark.integration


@asynccontextmanager
async def replica(store, **options):
    composed = await compose(ServingSettings(store_dir=store, **options))
    try:
        yield composed, composed.service._scorer._audit
    finally:
        await composed.close()


def metric(composed, name):
    found = [line for line in composed.backend.metrics().decode().splitlines() if line.startswith(f"{name}{{")]
    return {line.partition("{")[2].rpartition("}")[0]: float(line.rpartition(" ")[2]) for line in found}


def anchored(folder):
    return [(Checkpoint.parse(text_of(note)), note) for note in open_anchor(folder.as_uri()).read()]


async def test_what_a_replica_wrote_is_anchored_and_signed_by_the_key_that_it_made(tmp_path):
    store, anchor = tmp_path / "store", tmp_path / "elsewhere"
    async with replica(store, audit_anchor=anchor.as_uri(), audit_anchor_every_s=0.05) as (composed, audit):
        audit.append(record())
        await until_so(lambda: anchored(anchor))
        assert composed.backend.degraded() == ()
        assert set(metric(composed, "vedette_audit_signed").values()) == {1.0}
        audit.append(record())
    (*_, (last, note)) = anchored(anchor)
    assert (last.before + last.size, last.is_final) == (2, True), "the end of the replica is anchored too"
    assert Trust.of_store(store, store / "audit").signers(note)


async def test_a_key_and_an_anchor_that_are_out_show_in_readiness_and_metrics_and_records_go_on(tmp_path):
    store, anchor, key = tmp_path / "store", tmp_path / "elsewhere", tmp_path / "secret" / "audit.pem"
    anchor.write_text("in the way")
    async with replica(store, audit_anchor=anchor.as_uri(), audit_key=key) as (composed, audit):
        audit.append(record())
        await until_so(lambda: len(composed.backend.degraded()) == 2)
        unsigned, down = composed.backend.degraded()
        assert "not signed" in unsigned
        assert str(key) in unsigned
        assert "not anchored" in down
        assert set(metric(composed, "vedette_audit_signed").values()) == {0.0}
        assert next(v for k, v in metric(composed, "vedette_audit_anchored_total").items() if 'outcome="failed"' in k) >= 1
        audit.append(record())
        await until_so(lambda: audit.written == 2)
        assert audit.dropped == 0
        assert composed.service.is_live()


async def test_an_anchor_that_nobody_understands_is_an_error_at_the_start(tmp_path):
    with pytest.raises(AnchorUrlError, match="gopher"):
        async with replica(tmp_path / "store", audit_anchor="gopher://old/place"):
            pass
