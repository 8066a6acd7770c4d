"""How a stream is scored, followed to the letter, on a real broker; `vedette stream` runs beside, as in another terminal."""

import uuid
from pathlib import Path

import pytest

from tests.e2e.running.how_to import Reader, played
from tests.e2e.running.vedette import environment
from tests.fakes import kafka_broker

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
PAGE = "score-a-stream.md"


def test_score_a_stream(tmp_path: Path):
    import subprocess

    name = uuid.uuid4().hex[:8]
    topics = {w: f"{name}.{w}" for w in ("events", "verdicts", "alerts", "dead_letters", "state", "investigate")}
    exported = {f"VEDETTE_STREAM_{what.upper()}": topic for what, topic in topics.items()}
    exported |= {"VEDETTE_STREAM_SERVERS": kafka_broker.shared().address, "VEDETTE_STREAM_GROUP": name}
    reader = Reader(tmp_path, exported=exported)
    worker = None
    said = {}
    try:
        for command in played(PAGE):
            if command == "vedette stream":
                import sys

                worker = subprocess.Popen(
                    [sys.executable, "-m", "operators.cli.main", "stream"], cwd=tmp_path, env={**environment(), **exported}
                )
            else:
                said[command] = reader.types(PAGE, command)
        assert worker is not None
        assert len(reader.follows("first-stream.md")) == 2
        assert "10.10." in said["vedette stream watch --from-beginning --limit 1"]
        worker.terminate()
        assert worker.wait(120) == 0
    finally:
        if worker is not None and worker.poll() is None:
            worker.kill()
            worker.wait()
