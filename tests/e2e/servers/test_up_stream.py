"""`vedette up --stream`: broker, worker, replay and alerts by one command, and nothing left behind."""

import json
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.e2e.running.vedette import Vedette, environment, processes_of, tail, verb
from tests.fakes import kafka_broker
from tests.waiting import HANG_S, until

pytestmark = pytest.mark.e2e
MARK = "VEDETTE_E2E_STREAM"


def documents(text: str) -> list[dict]:
    """The JSON documents of a text, one after the other; the last one may be cut off."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while (at := text.find("{", at)) >= 0:
        try:
            one, at = decoder.raw_decode(text, at)
        except ValueError:
            break
        found.append(one)
    return found


def test_alerts_of_a_replay_are_printed_as_they_come_and_update_risks(vedette: Vedette, tmp_path: Path):
    if why := kafka_broker.unavailable():
        pytest.skip(why)
    store, mark = tmp_path / "store", uuid.uuid4().hex
    shutil.copytree(vedette.store, store, ignore=shutil.ignore_patterns("audit", "logs", "siblings"))
    out, log = tmp_path / "out", tmp_path / "log"
    own = {} if kafka_broker.libs() is None else {"VEDETTE_KAFKA_LIBS": str(kafka_broker.libs())}
    ports = ("--http-port", "0", "--grpc-port", "0", "--replicas", "1")
    command = [
        sys.executable,
        "-m",
        "operators.cli.main",
        "up",
        *ports,
        "--store-dir",
        str(store),
        "--stream",
        "--stream-speed",
        "0",
        "--json",
    ]
    with out.open("wb") as printed, log.open("wb") as told:
        process = subprocess.Popen(
            command, stdout=printed, stderr=told, env=environment(**{MARK: mark, **own}), start_new_session=True
        )
    try:

        def seen() -> list[dict]:
            assert process.poll() is None, tail(log)
            return documents(out.read_text(encoding="utf-8"))

        def said() -> dict[str, str]:
            return {path.name: tail(path) for path in (log, *(store / "logs").glob("*.log"))}

        until(lambda: len(seen()) > 1, lambda: f"no alert was printed:\n{said()}", progress=said)
        ready, alert, *_ = seen()
        assert (ready["model"], alert["schema"], alert["verdict"]["model"]) == ("flows", "vedette.alert/1", "flows")
        risks = until(
            lambda: json.loads(
                verb("risk", "top", "--at", "2026-01-05T10:00:00", "--json", VEDETTE_STORE_DIR=str(store)).stdout
            )
        )
        assert risks[0]["parts"][0]["name"] == "flows"
        until(lambda: "the replay is over" in log.read_text(encoding="utf-8"))
        process.send_signal(signal.SIGINT)
        assert process.wait(HANG_S) == 0, tail(log)
        until(lambda: not processes_of(mark, MARK), lambda: f"left behind: {processes_of(mark, MARK)}")
        assert "0 dead letters" in (store / "logs" / "worker.log").read_text(encoding="utf-8")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(HANG_S)


@pytest.mark.parametrize(
    ("options", "libs", "words"),
    [
        pytest.param([], "nothing", "make services", id="without Kafka it says how to get it"),
        pytest.param(["--no-train"], "nothing", "give one of the two", id="without data there is nothing to replay"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_trained(tmp_path: Path, options, libs, words):
    (tmp_path / libs).mkdir()
    done = verb(
        "up", "--store-dir", str(tmp_path / "s"), "--stream", *options, check=False, VEDETTE_KAFKA_LIBS=str(tmp_path / libs)
    )
    assert done.returncode == 1
    assert words in " ".join(done.stderr.split())
    assert not (tmp_path / "s").exists()
