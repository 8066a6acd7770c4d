"""Proofs of receipts: they hold off line, and nothing that was changed in one does."""

import json
from dataclasses import replace

import msgspec
import pytest

from lifecycle.governance.verify.finding_receipts import prove_receipt
from lifecycle.governance.verify.receipts import ReceiptError, ReceiptProof, check
from serving.audit.checkpoint import Checkpoint
from serving.audit.keys.trust import Trust
from serving.audit.segment_files import read_entries
from serving.audit.signed_note import Signer, text_of
from tests.fakes.audit.honest_logs import HonestLogs, write_honest_logs


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> HonestLogs:
    return write_honest_logs(tmp_path_factory.mktemp("honest") / "log", 300)


def receipt_at(logs, log, number, index):
    entry = list(read_entries(logs.segment(log, number).records))[index]
    return json.loads(entry)["receipt"], entry.decode()


def proved(logs, receipt, anchored=()):
    return prove_receipt(logs.folder, receipt, logs.trust_of(logs.folder), anchored)


def off_line(logs, proof):
    """As somebody checks it who has the file and a pinned key, and nothing else."""
    return check(ReceiptProof.decode(proof.encode()), Trust.build(logs.pinned, proof.keys))


@pytest.mark.parametrize("log_segment", [("alpha", 1), ("alpha", 4), ("bravo", 3), ("charlie", 2), ("delta", 1), ("delta", 3)])
def test_a_record_is_proved_off_line(logs, log_segment):
    receipt, entry = receipt_at(logs, *log_segment, 7)
    proof = proved(logs, receipt)
    assert proof.proofs[0].record == entry
    (shown,) = off_line(logs, proof)
    assert (shown.log, shown.segment, shown.line) == (*log_segment, 8)


def test_the_first_checkpoint_over_a_record_tells_when_it_was_there(logs):
    receipt, _ = receipt_at(logs, "alpha", 1, 0)
    checkpoint = Checkpoint.parse(text_of(proved(logs, receipt).proofs[0].checkpoint))
    assert not checkpoint.is_final


def test_an_anchor_confirms_it(logs):
    receipt, _ = receipt_at(logs, "delta", 3, 2)
    proof = proved(logs, receipt, logs.anchored)
    assert proof.proofs[0].anchored is not None
    assert proof.proofs[0].anchored.consistency
    (shown,) = off_line(logs, proof)
    assert shown.anchor == "depot"


def test_a_record_that_no_checkpoint_covers_is_said_so(logs):
    receipt, _ = receipt_at(logs, "delta", 3, -1)
    with pytest.raises(ReceiptError, match="no checkpoint covers it yet"):
        proved(logs, receipt)


def test_an_unknown_receipt_is_said_so(logs):
    with pytest.raises(ReceiptError, match="no record with receipt 'never'"):
        proved(logs, "never")


def test_a_receipt_that_stands_in_another_field_is_not_found(logs):
    with pytest.raises(ReceiptError, match="no record"):
        proved(logs, "flows")


def test_a_changed_record_cannot_be_proved(logs, tmp_path):
    import shutil

    copy = replace(logs, folder=shutil.copytree(logs.folder, tmp_path / "log"))
    receipt, _ = receipt_at(copy, "alpha", 1, 3)
    path = copy.segment("alpha", 1).records
    path.write_bytes(path.read_bytes().replace(b"benign", b"alerts", 1))
    with pytest.raises(ReceiptError, match="do not fit the checkpoint"):
        proved(copy, receipt)


def _other_key(proof, tmp_path):
    note = Signer.create(tmp_path / "foreign.pem").sign(text_of(proof.checkpoint))
    return {"checkpoint": note}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(
            lambda p, _: {"record": p.record.replace("benign", "alerts")}, "another root", id="the record was changed"
        ),
        pytest.param(
            lambda p, _: {"record": p.record.replace(p.record[12:30], "x")}, "not that of receipt", id="another receipt"
        ),
        pytest.param(lambda p, _: {"index": p.index + 1, "line": p.line + 1}, "another root", id="moved by one"),
        pytest.param(lambda p, _: {"line": p.line + 1}, "not that of receipt", id="the line was changed"),
        pytest.param(lambda p, _: {"inclusion": p.inclusion[:-1]}, "shorter", id="the path is too short"),
        pytest.param(lambda p, _: {"inclusion": ["?"]}, "no base64", id="the path is none"),
        pytest.param(lambda p, _: {"size": p.size + 1}, "another segment or size", id="the size was changed"),
        pytest.param(lambda p, _: {"log": "bravo"}, "another segment or size", id="the log was changed"),
        pytest.param(
            lambda p, _: {"checkpoint": p.checkpoint.replace("time_us 17", "time_us 16")},
            "does not fit",
            id="the time was changed",
        ),
        pytest.param(lambda p, tmp: _other_key(p, tmp), "no trusted key", id="a foreign key signed it"),
    ],
)
def test_a_proof_that_was_changed_does_not_hold(logs, tmp_path, change, says):
    receipt, _ = receipt_at(logs, "alpha", 2, 3)
    proof = proved(logs, receipt)
    changed = msgspec.structs.replace(proof.proofs[0], **change(proof.proofs[0], tmp_path))
    with pytest.raises(ReceiptError, match=says):
        off_line(logs, msgspec.structs.replace(proof, proofs=[changed]))


def test_a_key_that_was_replaced_is_trusted_by_its_note_only(logs):
    receipt, _ = receipt_at(logs, "delta", 2, 3)
    proof = proved(logs, receipt)
    with pytest.raises(ReceiptError, match="no trusted key"):
        check(proof, Trust.build(logs.pinned, ()))
