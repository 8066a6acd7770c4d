"""The monitor's shell: it goes on where it was, whenever it was killed, and takes no more memory with time."""

import dataclasses
import functools
import gc
import itertools
import multiprocessing
import os
import random
import signal
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from lifecycle.governance.acts import ActsLog
from lifecycle.monitoring.alarm import AlarmLog
from lifecycle.monitoring.watch.keep_watch import ModelWatch
from lifecycle.monitoring.watch.model_state import encode_state
from lifecycle.monitoring.watch.reference import NoReference
from lifecycle.monitoring.watch.settings import WatchSettings
from lifecycle.monitoring.watch.state_files import AnotherMonitor, StateFiles
from serving.audit.signed_note import Signer
from tests.fakes.monitoring.stream import MODEL, START_US, answered, append_to_log, reference

REFERENCE = reference()


class Watch(ModelWatch):
    """With the reference at hand, in place of a bundle's."""

    def reference(self, revision):
        return REFERENCE


@functools.cache
def _signer():
    with tempfile.TemporaryDirectory() as folder:
        return Signer.create(Path(folder) / "governance.pem")


def no_bundle(model, version):
    raise NoReference("not asked")


def opened(store, **settings):
    clock = itertools.count(1_000_000)
    acts = ActsLog(store / "governance", signer=_signer, now_us=lambda: next(clock))
    alarms = AlarmLog(store / "monitoring", acts)
    return Watch(MODEL, store / "audit", StateFiles(store / "monitoring"), alarms, WatchSettings(**settings), no_bundle)


def drifting_log(store, rows=500):
    rng = np.random.default_rng(0)
    append_to_log(store / "audit", answered(rng, rows))
    append_to_log(store / "audit", answered(rng, rows, begin=rows, shift=1.2, tcp=0.4))


def look_until_done(watch, most_rows=100):
    while watch.look(START_US, most_rows):
        pass


def ends_in(store):
    """What is left: the state without its clock, the alarms, the acts."""
    state = StateFiles(store / "monitoring").read(MODEL)
    acts = ActsLog(store / "governance", signer=lambda: None, now_us=lambda: 0)
    return (
        encode_state(dataclasses.replace(state, looks=0, looked_us=0, unsent=())),
        [alarm.alarm_id for alarm in AlarmLog(store / "monitoring").read()],
        sorted(act.evidence["alarm_id"] for act in acts.read() if act.action == "monitor.alarm"),
    )


@pytest.mark.heavy
def test_it_follows_the_log_and_goes_on_where_it_was(tmp_path):
    drifting_log(tmp_path)
    look_until_done(opened(tmp_path))
    before = ends_in(tmp_path)
    assert before[1]
    watch = opened(tmp_path)
    assert (watch.look(START_US), watch.state.rows) == (0, 1000)
    append_to_log(tmp_path / "audit", answered(np.random.default_rng(1), 30, begin=1000))
    assert (watch.look(START_US), watch.state.rows) == (30, 1030)


def test_it_may_begin_at_the_end(tmp_path):
    drifting_log(tmp_path)
    watch = opened(tmp_path)
    watch.begin_at_end()
    assert watch.look(START_US) == 0
    append_to_log(tmp_path / "audit", answered(np.random.default_rng(1), 30, begin=1000))
    assert opened(tmp_path).look(START_US) == 30


def test_two_monitors_do_not_watch_one_store(tmp_path):
    with (
        StateFiles(tmp_path).held(),
        pytest.raises(AnotherMonitor, match="another `vedette monitor`"),
        StateFiles(tmp_path).held(),
    ):
        pass
    with StateFiles(tmp_path).held():
        pass


@pytest.mark.heavy
def test_a_look_that_cannot_be_kept_is_done_again(tmp_path, monkeypatch):
    drifting_log(tmp_path)
    look_until_done(opened(tmp_path / "whole_run"))
    watch, fsync = opened(tmp_path), os.fsync
    failures = iter([False, True, False, False, True, True])

    def failing(fd):
        if next(failures, False):
            raise OSError(28, "No space left on device")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", failing)
    refused = 0
    for _ in range(40):
        try:
            watch.look(START_US, 100)
        except OSError:
            refused += 1
    monkeypatch.undo()
    assert refused == 3
    assert watch.state.rows == 1000


def _killed_at(store, operation):
    """A monitor that kills itself at its n-th operation on a file: before it, in the middle of it, or after it."""
    counted = itertools.count()

    def around(act, half=None):
        def acting(*arguments, **named):
            here = next(counted)
            if here == operation[0] and operation[1] == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            if here == operation[0] and operation[1] == "within" and half is not None:
                half(*arguments)
                os.kill(os.getpid(), signal.SIGKILL)
            result = act(*arguments, **named)
            if here == operation[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return acting

    write = os.write
    os.write = around(write, lambda fd, data: write(fd, data[: len(data) // 2]))
    os.fsync, os.fdatasync, os.replace = around(os.fsync), around(os.fdatasync), around(os.replace)
    os.open, os.ftruncate = around(os.open), around(os.ftruncate)
    look_until_done(opened(store))
    (store / "operations").write_text(str(next(counted)), encoding="utf-8")


def _run(store, operation):
    process = multiprocessing.get_context("fork").Process(target=_killed_at, args=(store, operation))
    process.start()
    process.join()
    return process.exitcode


def _same_end_after_kills(tmp_path, kills, seed):
    chosen = random.Random(seed)
    whole = tmp_path / "whole"
    drifting_log(whole)
    assert _run(whole, (-1, "before")) == 0
    operations = int((whole / "operations").read_text(encoding="utf-8"))
    expected = ends_in(whole)
    assert len(expected[1]) == len(set(expected[1])) >= 2
    assert expected[2]
    store, killed = tmp_path / "killed", 0
    drifting_log(store)
    for _ in range(kills):
        moment = (chosen.randrange(max(operations // 4, 1)), chosen.choice(["before", "within", "after"]))
        if _run(store, moment) == -signal.SIGKILL:
            killed += 1
        else:  # it came to its end: the next life begins with a fresh log
            assert ends_in(store) == expected
            store = tmp_path / f"killed-{killed}"
            drifting_log(store)
    assert _run(store, (-1, "before")) == 0
    assert ends_in(store) == expected
    return killed


@pytest.mark.heavy
def test_killed_at_random_moments_it_ends_in_the_same_state(tmp_path):
    assert _same_end_after_kills(tmp_path, kills=8, seed=1) >= 4


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
def test_killed_at_50_random_moments_it_ends_in_the_same_state(tmp_path, seed):
    killed = _same_end_after_kills(tmp_path, kills=70, seed=seed)
    print(f"\nkilled {killed} times; the same state, alarms and acts each time")
    assert killed >= 50


def _held_bytes(store, looks, rows_a_look, every):
    """Bytes that Python holds after every so many looks."""
    rng = np.random.default_rng(0)
    watch, held = opened(store, segment_column="proto"), []
    tracemalloc.start()
    try:
        for n in range(looks):
            append_to_log(store / "audit", answered(rng, rows_a_look, begin=n * rows_a_look))
            assert watch.look(START_US + n * 60_000_000) == rows_a_look
            if n % every == 0:
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    return np.array(held)


@pytest.mark.heavy
def test_memory_is_flat_over_many_looks(tmp_path):
    held = _held_bytes(tmp_path, looks=61, rows_a_look=40, every=10)
    assert held[-1] - held[3] < 40_000


@pytest.mark.soak
def test_memory_is_flat_over_a_day_of_looks(tmp_path):
    """1,440 looks are a day. Until about the 800th the quick detectors fill what they remember, 2,000 numbers."""
    held = _held_bytes(tmp_path, looks=3001, rows_a_look=60, every=100)
    print(f"\nbytes held after 1,000, 2,000 and 3,000 looks: {held[10]}, {held[20]}, {held[30]}; most {held.max()}")
    assert held[20:].max() - held[10:20].max() < 50_000
