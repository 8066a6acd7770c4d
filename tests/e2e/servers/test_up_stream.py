"""A second `vedette up` beside the shared one, with `--stream`: two copies, two replicas, broker, worker, replay and alerts by one command,
and nothing left behind. One start for all of it."""

import json
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running.vedette import START_S, Vedette, curl, environment, processes_of, replica_pids, tail, verb, verdicts
from tests.fakes import kafka_broker
from tests.waiting import HANG_S, until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
MARK = "VEDETTE_E2E_MARK"


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


@dataclass(frozen=True, slots=True)
class SecondCopy:
    """process: `vedette up`; it prints to `out` and tells `log`."""

    server: Vedette
    process: subprocess.Popen[bytes]
    out: Path
    why_no_stream: str | None

    def printed(self) -> list[dict]:
        assert self.process.poll() is None, tail(self.server.log)
        return documents(self.out.read_text(encoding="utf-8"))

    def said(self) -> dict[str, str]:
        return {path.name: tail(path) for path in (self.server.log, *(self.server.store / "logs").glob("*.log"))}


@pytest.fixture(scope="module")
def second(vedette: Vedette, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondCopy]:
    """In a copy of the shared server's store; with a stream where there is a Kafka."""
    folder, mark = tmp_path_factory.mktemp("copy"), uuid.uuid4().hex
    store, out, log = folder / "store", folder / "out", folder / "log"
    shutil.copytree(vedette.store, store, ignore=shutil.ignore_patterns("audit", "logs", "replicas", "siblings"))
    own = {} if kafka_broker.libs() is None else {"VEDETTE_KAFKA_LIBS": str(kafka_broker.libs())}
    why = kafka_broker.unavailable()
    stream = [] if why else ["--stream", "--stream-speed", "0"]
    ports = ("--http-port", "0", "--grpc-port", "0", "--replicas", "2")
    command = [sys.executable, "-m", "operators.cli.main", "up", *ports, "--store-dir", str(store), *stream, "--json"]
    began = time.monotonic()
    with out.open("wb") as printed, log.open("wb") as told:
        process = subprocess.Popen(
            command, stdout=printed, stderr=told, env=environment(**{MARK: mark, **own}), start_new_session=True
        )
    try:
        while not documents(out.read_text(encoding="utf-8")):
            assert process.poll() is None, tail(log)
            assert time.monotonic() - began < START_S, tail(log)
            time.sleep(0.1)
        (said, *_), waited = documents(out.read_text(encoding="utf-8")), time.monotonic() - began
        server = Vedette(said["http"], said["grpc"], said["model"], said["curl"], process.pid, store, log, mark, waited)
        yield SecondCopy(server, process, out, why)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(HANG_S)


def test_two_copies_run_side_by_side_and_the_second_start_is_quick(vedette: Vedette, second: SecondCopy):
    server = second.server
    print(f"\nvedette up, second time, beside the first: ready after {server.waited_s:.1f} s")
    assert "training" not in server.log.read_text(encoding="utf-8"), "the second start trains nothing"
    assert server.http != vedette.http
    assert len(replica_pids(server.mark)) == 2
    assert [verdicts(curl(server)) for _ in range(6)] == [verdicts(curl(vedette))] * 6, "whichever replica answers"


def test_alerts_of_a_replay_are_printed_as_they_come_and_update_risks(second: SecondCopy):
    if second.why_no_stream:
        pytest.skip(second.why_no_stream)
    until(
        lambda: len(second.printed()) > 1, lambda: f"no alert was printed:\n{second.said()}", progress=second.said, every_s=0.1
    )
    ready, alert, *_ = second.printed()
    assert (ready["model"], alert["schema"], alert["verdict"]["model"]) == ("flows", "vedette.alert/1", "flows")

    def risks() -> list[dict[str, Any]]:
        asked = verb("risk", "top", "--at", "2026-01-05T10:00:00", "--json", VEDETTE_STORE_DIR=str(second.server.store))
        found: list[dict[str, Any]] = json.loads(asked.stdout)
        return found

    assert until(risks, every_s=0.5)[0]["parts"][0]["name"] == "flows"
    until(lambda: "the replay is over" in second.server.log.read_text(encoding="utf-8"))


def test_a_copy_that_is_ended_leaves_nothing_behind_and_the_other_answers(vedette: Vedette, second: SecondCopy):
    """The last of the three: it ends what the others share."""
    second.process.send_signal(signal.SIGINT)
    assert second.process.wait(HANG_S) == 0, tail(second.server.log)
    mark = second.server.mark
    until(lambda: not processes_of(mark), lambda: f"left behind: {processes_of(mark)}")
    if not second.why_no_stream:
        assert "0 dead letters" in (second.server.store / "logs" / "worker.log").read_text(encoding="utf-8")
    assert curl(vedette)["model_name"] == vedette.model, "stopping one copy must not touch the other"


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
