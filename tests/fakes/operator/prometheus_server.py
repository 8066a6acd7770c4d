"""A real Prometheus of one's own: on a free port, scraping given pages every second."""

import json
import shutil
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from tests.ports import free_port
from tests.waiting import HANG_S, until

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
        try:
            until(self._is_ready, "prometheus did not start", every_s=0.1)
        except BaseException:
            self.stop()
            raise

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, f"prometheus ended with {self._process.returncode}"
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=HANG_S) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._folder.cleanup()
