"""A replica that is killed under load: in `strict` every answer that a client has in hand has its record, once."""

import random
import time
from collections import Counter

import pytest

from serving.audit.checkpoint import Checkpoint
from serving.audit.reader import read_records
from serving.audit.segment_files import read_notes, segments_in
from serving.audit.signed_note import text_of
from tests.integration.audit.killed_replica import Clients, fill, replica
from tests.unit.serving.audit.chains import check_chain
from tests.waiting import until

pytestmark = pytest.mark.integration
CLIENTS = 32


def live_and_be_killed(store, kills: int, rng: random.Random) -> tuple[list[str], int]:
    """So many lives that end by SIGKILL at a random moment, and one that ends in order; the receipts that clients got."""
    receipts, refused = list[str](), 0
    for life in range(kills + 1):
        with replica(store, audit="strict", audit_segment_bytes="60000", max_wait_s="10") as process:
            clients = Clients(process.port, CLIENTS)
            until(lambda c=clients: len(c.receipts) > 40, "nobody was answered")
            if life < kills:
                time.sleep(rng.uniform(0, 0.5))  # nothing is waited for: the moment is to be any
                process.kill()
            clients.end()
        receipts += clients.receipts
        refused += clients.refused
    return receipts, refused


def check(store, kills: int, given: list[str]) -> str:
    folder = store / "audit"
    recorded = Counter(record.receipt for record in read_records(folder))
    assert [receipt for receipt in given if receipt not in recorded] == [], "an answer that left has no record"
    assert [receipt for receipt, times in recorded.items() if times != 1] == [], "a record is there twice"
    assert len(given) == len(set(given))
    logs = check_chain(folder)
    last = {log: ended[-1] for log, ended in logs.items()}
    sealed = [log for log, checkpoint in last.items() if checkpoint.sealed_by is not None]
    assert len(logs) == kills + 1
    assert len(sealed) <= kills
    assert sum(checkpoint.sealed_by is None for checkpoint in last.values()) >= 1, "the last life ended in order"
    by_others = [c for files in segments_in(folder) for c in map(Checkpoint.parse, map(text_of, read_notes(files.checkpoints)))]
    assert {c.sealed_by for c in by_others if c.sealed_by is not None} <= set(logs)
    unanswered = sum(recorded.values()) - len(given)
    assert unanswered <= CLIENTS * kills, "records of answers that nobody got are those under way at a kill"
    return f"{kills} kills, {len(given)} answers, {sum(recorded.values())} records, {len(sealed)} logs sealed by the next life"


def test_answers_survive_the_replica_that_gave_them(tmp_path):
    store = tmp_path / "store"
    fill(store)
    given, refused = live_and_be_killed(store, 2, random.Random(7))
    assert refused == 0
    print("\n" + check(store, 2, given))


@pytest.mark.soak
def test_fifty_kills_lose_no_record_and_double_none(tmp_path):
    store = tmp_path / "store"
    fill(store)
    given, refused = live_and_be_killed(store, 50, random.Random(7))
    print(f"\n{check(store, 50, given)}, {refused} refused")
