"""A real Prometheus of one's own: on a free port, scraping given pages every second."""

import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from tests.fakes.redis_server import free_port

PROGRAM = shutil.which("prometheus")


class PrometheusServer:
    """Starts at once, scraping `targets` (host:port); `stop` when done."""

    def __init__(self, targets: list[str], labels: dict[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder, port = Path(self._folder.name), free_port()
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [{"job_name": "vedette", "static_configs": [{"targets": targets, "labels": labels}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self.url = f"http://127.0.0.1:{port}"
        command = [PROGRAM, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        self._process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.1)
        self.stop()
        raise RuntimeError("prometheus did not start")

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._folder.cleanup()
