"""Prometheus and Alertmanager on free ports, quick: they scrape and judge every second, and what waits minutes waits a second."""

import contextlib
import json
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from operators.observability.alerts.prometheus_rule import rule_file
from tests.manifests.conftest import MANIFESTS
from tests.ports import free_port
from tests.waiting import HANG_S, until

PROMETHEUS, ALERTMANAGER = shutil.which("prometheus"), shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


class Told:
    """Takes Alertmanager's webhooks. alerts: by receiver, then name and namespace, the newest as it came."""

    def __init__(self) -> None:
        self.alerts: dict[tuple[str, str, str], dict[str, Any]] = {}
        told = self

        class Page(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                for alert in body["alerts"]:
                    labels = alert["labels"]
                    told.alerts[body["receiver"], labels["alertname"], labels.get("namespace", "")] = alert
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def names(self, namespace: str) -> set[str]:
        return {name for _, name, of in list(self.alerts) if of == namespace}

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Watchtower:
    """prometheus, alertmanager: their URLs. told: who is told."""

    def __init__(self, prometheus: str, alertmanager: str, told: Told) -> None:
        self.prometheus, self.alertmanager, self.told = prometheus, alertmanager, told

    def query(self, expr: str) -> dict[str, Any]:
        """The answer of Prometheus, an error as well."""
        try:
            return get(f"{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expr})}")
        except urllib.error.HTTPError as problem:
            return json.loads(problem.read())

    def inhibited(self) -> set[tuple[str, str]]:
        """Name and namespace of the alerts that are held back because of others."""
        alerts = get(f"{self.alertmanager}/api/v2/alerts")
        return {(a["labels"]["alertname"], a["labels"].get("namespace", "")) for a in alerts if a["status"]["inhibitedBy"]}


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=HANG_S) as answer:
        return json.loads(answer.read())


def quick_rules() -> dict[str, Any]:
    """Our rules, judged every second; whatever waits for minutes waits a second."""
    document = rule_file()
    for group in document["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = "1s"
    return document


def quick_routes(url: str) -> dict[str, Any]:
    """The example's configuration, each receiver at this address, without its waits."""
    document = yaml.safe_load((MANIFESTS / "components/prometheus-operator/alertmanager.yaml").read_text(encoding="utf-8"))
    document["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    for receiver in document["receivers"]:
        receiver["webhook_configs"] = [{"url": f"{url}/{receiver['name']}", "send_resolved": True}]
    return document


@contextlib.contextmanager
def watchtower(folder: Path, targets: Mapping[str, tuple[str, Mapping[str, str]]]) -> Iterator[Watchtower]:
    """targets: address -> job and labels of the target. The labels that a page has itself are kept."""
    told, ports = Told(), (free_port(), free_port())
    (folder / "rules.yaml").write_text(yaml.safe_dump(quick_rules()), encoding="utf-8")
    (folder / "alertmanager.yaml").write_text(yaml.safe_dump(quick_routes(told.url)), encoding="utf-8")
    scrapes = [
        {
            "job_name": f"{job}-{number}",
            "honor_labels": True,
            "static_configs": [{"targets": [address], "labels": {"job": job, **labels}}],
        }
        for number, (address, (job, labels)) in enumerate(targets.items())
    ]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yaml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{ports[1]}"]}]}]},
        "scrape_configs": scrapes,
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    commands = (
        [
            PROMETHEUS, f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{ports[0]}",
        ],
        [
            ALERTMANAGER, f"--config.file={folder}/alertmanager.yaml", f"--storage.path={folder}/alerts",
            f"--web.listen-address=127.0.0.1:{ports[1]}", "--cluster.listen-address=",
        ],
    )  # fmt: skip
    processes = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=(folder / f"log-{n}").open("wb"))
        for n, command in enumerate(commands)
    ]
    try:
        for port, process, number in zip(ports, processes, (0, 1), strict=True):
            log = folder / f"log-{number}"
            until(lambda p=port: _is_ready(p), lambda f=log: f.read_text()[-3000:], every_s=0.1)
            assert process.poll() is None, log.read_text()[-3000:]
        yield Watchtower(*(f"http://127.0.0.1:{port}" for port in ports), told)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        told.stop()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=HANG_S) as answer:
            return answer.status == 200
    except OSError:
        return False
