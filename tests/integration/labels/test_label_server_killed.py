"""`vedette label serve`, killed while labels come in: what was acknowledged is in the log, once."""

import json
import random
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest

from lifecycle.labels.label_log import LabelLog
from tests.fakes.labelled import PredictionLog, record
from tests.waiting import HANG_S

pytestmark = pytest.mark.integration


class Running:
    """The verb as a process. address: of the door; token: of its clients."""

    def __init__(self, store) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "operators.cli.main", "label", "serve", "--port", "0", "--store-dir", str(store)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip
        line = self.process.stdout.readline()
        assert line.startswith("labels are accepted at "), line + self.process.stderr.read()
        self.address = line.split()[4].rstrip(";")
        self.token = (store / "keys" / "labels.token").read_text(encoding="utf-8").strip()

    def give(self, number: int) -> bool:
        """Whether the label was acknowledged."""
        body = {"label_id": f"l-{number}", "event": f"r-{number % 20:x}", "verdict": "attack", "analyst": "ada"}
        asked = urllib.request.Request(self.address, json.dumps(body).encode(), {"authorization": f"Bearer {self.token}"})
        try:
            with urllib.request.urlopen(asked, timeout=HANG_S) as answer:
                return answer.status in (200, 201)
        except (OSError, urllib.error.URLError):
            return False


def test_what_was_acknowledged_before_the_kill_is_in_the_log_once(tmp_path):
    PredictionLog(tmp_path / "audit").append(*(record(n) for n in range(20)))
    acknowledged: set[int] = set()
    rng = random.Random(4)
    for life in range(3):
        running = Running(tmp_path)
        due = rng.randrange(3, 25) + life * 30
        reached = threading.Event()

        def clients(start: int, running=running, due=due, reached=reached) -> None:
            for number in range(start, 400, 4):
                if running.give(number):
                    acknowledged.add(number)
                elif running.process.poll() is not None:
                    return
                if len(acknowledged) >= due:
                    reached.set()

        threads = [threading.Thread(target=clients, args=(start,)) for start in range(4)]
        [thread.start() for thread in threads]
        assert reached.wait(HANG_S)
        running.process.kill()
        running.process.wait()
        [thread.join() for thread in threads]
    kept = [one.label_id for one in LabelLog(tmp_path / "labels").read()]
    assert {f"l-{number}" for number in acknowledged} <= set(kept)
    assert len(kept) == len(set(kept))


def test_it_ends_in_order_and_keeps_its_token(tmp_path):
    PredictionLog(tmp_path / "audit").append(record(0))
    first = Running(tmp_path)
    assert first.give(0)
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(HANG_S) == 0
    again = Running(tmp_path)
    assert again.token == first.token
    assert again.give(0)
    again.process.send_signal(signal.SIGINT)
    assert again.process.wait(HANG_S) == 0
    assert (tmp_path / "keys" / "labels.token").stat().st_mode & 0o077 == 0
    assert len(LabelLog(tmp_path / "labels").read()) == 1
