"""The OpenTelemetry Collector, to be killed and started again: what it is sent over OTLP/HTTP it writes to a file, which is read here.

`make services` builds it (tests/install_otelcol.sh)."""

import json
import os
import pwd
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.tracing.collected import CollectedSpan, spans_of
from tests.ports import free_port
from tests.waiting import until

_INSTALL: Final = Path(__file__).parents[2] / "install_otelcol.sh"


@cache
def program() -> Path | None:
    """The program, where it was built: by the environment, or in the user's own home."""
    own = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    own["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
    asked = [subprocess.check_output(["sh", str(_INSTALL), "--where"], env=env, text=True) for env in (dict(os.environ), own)]
    return next((place for answer in asked if (place := Path(answer.strip())).is_file()), None)


class OtelCollector:
    """Starts at once; `stop` when done. A test that finds no program is skipped."""

    def __init__(self) -> None:
        if program() is None:
            pytest.skip("no OpenTelemetry Collector: `make services` builds it (needs Go and the Go module proxy)")
        self._folder = tempfile.TemporaryDirectory()
        self._port = free_port()
        self._file, self._log = Path(self._folder.name) / "spans.json", Path(self._folder.name) / "log"
        self.start()

    @property
    def url(self) -> str:
        """Base URL of OTLP/HTTP."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen, at the address that it had before."""
        config = {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{self._port}"}}}},
            "exporters": {"file": {"path": str(self._file), "append": True, "flush_interval": "50ms"}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
            },
        }
        place = Path(self._folder.name) / "config.yaml"
        place.write_text(json.dumps(config), encoding="utf-8")
        command = [str(program()), "--config", f"file:{place}"]
        before = self._times_ready()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(lambda: self._times_ready() > before or self._has_ended(), self._log.read_text)
        assert not self._has_ended(), self._log.read_text()

    def kill(self) -> None:
        """As a machine that fails."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it, and what it has collected with it."""
        self.kill()
        self._folder.cleanup()

    def spans(self) -> list[CollectedSpan]:
        """All that it was sent so far."""
        if not self._file.exists():
            return []
        text = self._file.read_text(encoding="utf-8")
        return [span for line in text[: text.rfind("\n") + 1].splitlines() for span in spans_of(json.loads(line))]

    def _times_ready(self) -> int:
        return self._log.read_text(encoding="utf-8").count("Everything is ready") if self._log.exists() else 0

    def _has_ended(self) -> bool:
        return self._process.poll() is not None
