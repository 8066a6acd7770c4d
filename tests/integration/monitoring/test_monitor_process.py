"""The real `vedette monitor` as a process: killed at random moments while the log grows, and a day in fast motion."""

import dataclasses
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lifecycle.governance.acts import ActsLog
from lifecycle.monitoring.alarm import AlarmLog
from lifecycle.monitoring.watch.model_state import encode_state
from lifecycle.monitoring.watch.state_files import StateFiles
from serving.models.store import BundleStore
from tests.fakes.monitoring.stream import MODEL, answered, append_to_log
from tests.unit.operators.cli.monitoring.test_monitor_verb import bundle
from tests.waiting import until

MINUTE_ROWS = 60
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def monitor(store: Path, *words: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "operators.cli.main", "monitor", "--store-dir", str(store), "--every", "0.05", *words],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment,
    )  # fmt: skip


def new_store(place: Path) -> Path:
    BundleStore(place / "store").add(bundle(place / "bundle"))
    (place / "store" / "audit").mkdir()
    return place / "store"


def minutes(count: int, changes_at: int):
    """The rows of so many minutes; then they drift."""
    rng = np.random.default_rng(0)
    for n in range(count):
        how = {"shift": 1.2, "tcp": 0.4} if n >= changes_at else {}
        yield answered(rng, MINUTE_ROWS, begin=n * MINUTE_ROWS, **how)


def rows_of(store: Path) -> int:
    return StateFiles(store / "monitoring").read(MODEL).rows


def ends(process: subprocess.Popen[bytes]) -> bytes:
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said.decode()
    return said


def what_is_left(store: Path):
    state = StateFiles(store / "monitoring").read(MODEL)
    acts = ActsLog(store / "governance", signer=lambda: None, now_us=lambda: 0)
    return (
        encode_state(dataclasses.replace(state, looks=0, looked_us=0, unsent=())),
        [alarm.alarm_id for alarm in AlarmLog(store / "monitoring").read()],
        [act.evidence["alarm_id"] for act in acts.read() if act.action == "monitor.alarm"],
    )


def killed_again_and_again(place: Path, kills: int, count: int) -> None:
    """The log grows by a minute each time; the monitor is killed at a random moment after it has begun to look."""
    chosen = random.Random(kills)
    store = new_store(place / "killed")
    growing = minutes(count, changes_at=count // 2)
    for _ in range(kills):
        before = rows_of(store)
        process = monitor(store)
        for rows in itertools.islice(growing, max(count // kills, 1)):
            append_to_log(store / "audit", rows)
        until(lambda before=before: rows_of(store) > before or chosen.random() < 0.01)
        time.sleep(chosen.random() * 0.05)  # any moment will do: nothing is waited for
        process.kill()
        process.communicate()
    for rows in growing:
        append_to_log(store / "audit", rows)
    process = monitor(store)
    until(lambda: rows_of(store) == count * MINUTE_ROWS)
    ends(process)
    undisturbed = new_store(place / "undisturbed")
    for rows in minutes(count, changes_at=count // 2):
        append_to_log(undisturbed / "audit", rows)
    process = monitor(undisturbed)
    until(lambda: rows_of(undisturbed) == count * MINUTE_ROWS)
    ends(process)
    left, expected = what_is_left(store), what_is_left(undisturbed)
    assert len(left[1]) == len(set(left[1]))
    assert len(left[2]) == len(set(left[2]))
    assert sorted(left[2]) == sorted(expected[2])
    assert left[:2] == expected[:2]
    assert expected[2], "the drift is an act"


def test_a_monitor_that_is_killed_while_the_log_grows_ends_in_the_same_state(tmp_path):
    killed_again_and_again(tmp_path, kills=3, count=18)


@pytest.mark.soak
def test_killed_at_50_random_moments_it_ends_in_the_same_state(tmp_path):
    killed_again_and_again(tmp_path, kills=50, count=200)


def resident_kb(process: subprocess.Popen[bytes]) -> int:
    return int(Path(f"/proc/{process.pid}/statm").read_text(encoding="utf-8").split()[1]) * PAGE_BYTES // 1024


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_a_day_in_fast_motion_takes_no_more_memory_than_its_first_hours(tmp_path):
    """1,440 minutes of 60 rows, each looked at by itself, by segment too; the last quarter drifts."""
    store = new_store(tmp_path)
    process = monitor(store, "--by", "proto", "--metrics-port", "0")
    try:
        resident = []
        for n, rows in enumerate(minutes(1440, changes_at=1080), 1):
            append_to_log(store / "audit", rows)
            until(lambda n=n: rows_of(store) == n * MINUTE_ROWS)
            resident.append(resident_kb(process))
    finally:
        ends(process)
    looks = StateFiles(store / "monitoring").read(MODEL).looks
    first, last = np.median(resident[360:420]), np.median(resident[-60:])
    print(f"\n{looks} looks; resident kB: after 6 hours {first:.0f}, after 24 hours {last:.0f}, most {max(resident)}")
    assert looks >= 1440
    assert last - first < 4096


def test_a_signal_ends_it_in_order(tmp_path):
    store = new_store(tmp_path)
    process = monitor(store, "--metrics-port", "0")
    assert process.stderr is not None
    assert re.search(rb"metrics on http://127\.0\.0\.1:[0-9]+/metrics", process.stderr.readline())
    append_to_log(store / "audit", next(minutes(1, changes_at=9)))
    until(lambda: rows_of(store) == MINUTE_ROWS)
    ends(process)
