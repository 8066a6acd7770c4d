"""Exactly once on a real broker: workers are killed, the group is rebalanced, the broker is restarted, and downstream there is one verdict
of each event. The windows are what they are without any of it."""

import json
import random
import shutil

import pytest

from serving.models.store import BundleStore
from tests.integration.stream.stream_runs import StreamRun
from tests.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("stream workers that are killed")]
HOSTS = 300
START_US = 1_767_600_000_000_000


def flows(n):
    """Events of the model `flows`, with 5 % out of order; one of 1,000 is no event. Keys and values."""
    rng = random.Random(14)
    for i in range(n):
        key = f"10.0.0.{rng.randrange(HOSTS)}"
        if i % 1000 == 999:
            yield key, b'{"host": "' + str(i).encode()
            continue
        late_s = rng.random() * 20 if rng.random() < 0.05 else 0
        yield (
            key,
            json.dumps({
                "host": key, "proto": "tcp", "state": rng.choice(["CON", "S_", "FSPA_FSPA"]), "sport": rng.randrange(60000),
                "dport": rng.choice([80, 443, 22]), "duration": rng.random(), "packets": rng.randrange(1, 20),
                "bytes": rng.randrange(5000), "src_bytes": rng.randrange(2000), "destination": f"10.9.9.{rng.randrange(50)}",
                "event_time": START_US + i * 5_000 - int(late_s * 1e6), "event_id": f"e{i}",
            }).encode(),
        )  # fmt: skip


def finished(run, good):
    return lambda: run.written() >= good and len(run.verdicts()) >= good


def check(run, n, dead):
    ids = [v.event_id for v in run.verdicts()]
    assert sorted(ids) == sorted(f"e{i}" for i in range(n) if i % 1000 != 999)
    assert len(run.values(run.settings.dead_letters)) == dead


def disturbed(run, store, tmp_path, n, *, kills, restarts=()):
    """Two workers; one is killed each time some more verdicts are there, and started again under its name. restarts: after these kills
    the broker is restarted."""
    dead = n // 1000
    log = tmp_path / "workers.log"
    workers = {name: run.process(store, name, log) for name in ("w0", "w1")}

    def so_far():
        return (
            f"{run.written()} written, {len(run.verdicts())} verdicts of {n - dead}; {log.read_text(encoding='utf-8')[-3000:]}"
        )

    try:
        for kill in range(kills):
            goal = (kill + 1) * (n - dead) // (kills + 2)
            until(lambda goal=goal: run.written() >= goal, so_far, every_s=0.2)
            name = f"w{kill % 2}"
            workers[name].kill()
            workers[name].wait()
            if kill in dict(restarts):
                dict(restarts)[kill]()
            workers[name] = run.process(store, name, log)
        until(finished(run, n - dead), so_far, every_s=0.5)
    finally:
        for worker in workers.values():
            worker.terminate()
        for worker in workers.values():
            worker.wait(120)
    return dead


def undisturbed(run, store, tmp_path, n):
    worker = run.process(store, "alone", tmp_path / "alone.log")
    try:
        until(finished(run, n - n // 1000), lambda: (tmp_path / "alone.log").read_text(encoding="utf-8")[-3000:], every_s=0.5)
    finally:
        worker.terminate()
        worker.wait(120)


def windows(store):
    manifest = next(iter(BundleStore(store).entries()))
    return BundleStore(store).read(manifest.digest).manifest.windows


@pytest.fixture
def store(flows_store, tmp_path):
    return shutil.copytree(flows_store, tmp_path / "store", ignore=shutil.ignore_patterns("audit"))


def same_events(run, others):
    """A run over the same topic of events, with outputs and a group of its own."""
    return StreamRun(run.settings.servers, run.partitions, **{**others, "events": run.settings.events})


@pytest.mark.parametrize("disorder_s", [0.0, 5.0], ids=["as they come", "held until the watermark"])
def test_killed_workers_leave_one_verdict_of_each_event_and_the_same_windows(kafka, store, tmp_path, disorder_s):
    how = {"disorder_s": disorder_s, "idle_s": 3.0, "batch_events": 500, "snapshot_s": 1.0, "transaction_s": 10.0}
    run, n = StreamRun(kafka.address, **how), 12_000
    run.produce(list(flows(n)))
    dead = disturbed(run, store, tmp_path, n, kills=2)
    check(run, n, dead)
    alone = same_events(run, how)
    undisturbed(alone, store, tmp_path, n)
    assert run.window_digests(windows(store)) == alone.window_digests(windows(store))


@pytest.mark.soak
def test_two_hundred_thousand_events_twenty_kills_and_two_restarts_of_the_broker(store, tmp_path):
    from tests.fakes.kafka_broker import KafkaBroker, unavailable

    if why := unavailable():
        pytest.skip(why)
    broker = KafkaBroker().wait()
    try:
        how = {"batch_events": 1000, "snapshot_s": 5.0, "transaction_s": 10.0}
        run, n = StreamRun(broker.address, 6, **how), 200_000
        run.produce(list(flows(n)))

        def restart():
            broker.stop()
            broker.start()
            broker.wait()

        dead = disturbed(run, store, tmp_path, n, kills=20, restarts=((6, restart), (13, restart)))
        check(run, n, dead)
        alone = same_events(run, how)
        undisturbed(alone, store, tmp_path, n)
        assert run.window_digests(windows(store)) == alone.window_digests(windows(store))
    finally:
        broker.remove()
