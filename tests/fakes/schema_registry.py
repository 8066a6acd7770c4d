"""Schema registries of one's own: one that follows the published protocol and takes orders for faults, and a real Apicurio Registry.

The protocol: Confluent's "Schema Registry API Reference", `/subjects/{subject}/versions`, `/schemas/ids/{id}`, `/schemas/guids/{guid}`."""

import atexit
import json
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.ports import free_port
from tests.waiting import HANG_S, until

_INSTALL: Final = Path(__file__).parents[1] / "install_apicurio.sh"
GUID: Final = "89791762-2336-4186-9674-299b90a802e2"
"""Of the first schema."""


class FakeSchemaRegistry:
    """Keeps its schemas in memory. asked: paths, in order. instead: what answers a path in its place, (status, body).

    serialized: the base64 of a descriptor by Protobuf text; of texts that are not there `format=serialized` gives the text, as
    Apicurio does."""

    def __init__(self, context: Any = None, prefix: str = "") -> None:
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.instead: Callable[[str], tuple[int, bytes] | None] = lambda path: None
        self.serialized: dict[str, str] = {}
        self._schemas: list[dict[str, Any]] = []
        self._subjects: dict[str, list[int]] = {}
        self._prefix = prefix
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                registry.headers.append(dict(self.headers))
                status, body = registry.instead(self.path) or registry.answer(self.path)
                self._send(status, body)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                subject = unquote(self.path.removeprefix(registry._prefix).split("/")[2])
                self._send(200, json.dumps({"id": registry._add(subject, body)}).encode())

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self._server.server_port}{prefix}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _add(self, subject: str, body: dict[str, Any]) -> int:
        self._schemas.append(body)
        self._subjects.setdefault(subject, []).append(len(self._schemas))
        return len(self._schemas)

    def answer(self, path: str) -> tuple[int, bytes]:
        """What the protocol says."""
        if not path.startswith(self._prefix):
            return 404, b"<html>not here</html>"
        parts = urlsplit(path.removeprefix(self._prefix))
        form = parse_qs(parts.query).get("format", [""])[0]
        match [unquote(part) for part in parts.path.split("/")[1:]]:
            case ["schemas", "types"]:
                return 200, b'["JSON","PROTOBUF","AVRO"]'
            case ["schemas", "ids", number]:
                if not number.isdigit() or not 0 < int(number) <= len(self._schemas):
                    return 404, b'{"error_code":40403,"message":"Schema %s not found"}' % number.encode()
                return 200, self._body(int(number), form)
            case ["schemas", "guids", guid]:
                if guid != GUID or not self._schemas:
                    return 404, b'{"error_code":40403,"message":"Schema %s not found"}' % guid.encode()
                return 200, self._body(1, form)
            case ["subjects", subject, "versions", version]:
                if subject not in self._subjects:
                    return 404, b'{"error_code":40401,"message":"Subject \'%s\' not found."}' % subject.encode()
                numbers = self._subjects[subject]
                if not 0 < int(version) <= len(numbers):
                    return 404, b'{"error_code":40402,"message":"Version %s not found."}' % version.encode()
                return 200, self._body(numbers[int(version) - 1], form, subject=subject, version=int(version))
        return 404, b'{"error_code":404,"message":"HTTP 404 Not Found"}'

    def _body(self, number: int, form: str, **more: object) -> bytes:
        kept = self._schemas[number - 1]
        text = self.serialized.get(kept["schema"], kept["schema"]) if form == "serialized" else kept["schema"]
        kind = kept.get("schemaType", "AVRO")
        answer: dict[str, Any] = {**more, "schema": text}
        if kind != "AVRO":  # as the protocol has it: Avro is not named
            answer["schemaType"] = kind
        if kept.get("references"):
            answer["references"] = kept["references"]
        return json.dumps(answer).encode()


def register(url: str, subject: str, text: str, kind: str = "AVRO", references: Sequence[tuple[str, str, int]] = ()) -> int:
    """Give a registry a schema, as a producer's client does; its id. references: (name, subject, version)."""
    body = {
        "schema": text,
        "schemaType": kind,
        "references": [{"name": name, "subject": other, "version": version} for name, other, version in references],
    }
    request = urllib.request.Request(
        f"{url}/subjects/{subject}/versions",
        json.dumps(body).encode(),
        {"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return int(json.load(response)["id"])


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


@contextmanager
def fake_registry(**options: Any) -> Iterator[FakeSchemaRegistry]:
    registry = FakeSchemaRegistry(**options)
    try:
        yield registry
    finally:
        registry.close()


@cache
def apicurio() -> str:
    """The URL of a real registry, one for this process. Skips with a plain reason where it cannot be had."""
    folder = _apicurio_folder()
    if folder is None:
        pytest.skip("no Apicurio Registry: `make services` gets it (needs Maven, Java 17 and the network)")
    if shutil.which("java") is None:
        pytest.skip("java is not installed; Apicurio Registry needs 17 or newer: `make services` installs it")
    port = free_port()
    own = Path(tempfile.mkdtemp(prefix="vedette-apicurio-"))
    options = ["-Xmx384m", "-XX:TieredStopAtLevel=1", "-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={port}"]
    (jar,) = folder.glob("*-runner.jar")
    with (own / "log").open("wb") as out:
        running = subprocess.Popen(
            ["java", *options, "-Dquarkus.management.enabled=false", "-jar", str(jar)],
            stdout=out, stderr=subprocess.STDOUT, cwd=own, start_new_session=True,
        )  # fmt: skip

    def remove() -> None:
        running.kill()
        running.wait(60)
        shutil.rmtree(own, ignore_errors=True)

    atexit.register(remove)
    url = f"http://127.0.0.1:{port}/apis/ccompat/v7"

    def answers() -> bool:
        assert running.poll() is None, (own / "log").read_text(encoding="utf-8", errors="replace")[-2000:]
        try:
            with urllib.request.urlopen(f"{url}/schemas/types", timeout=HANG_S) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            return False

    until(answers, "Apicurio does not answer")
    return url


def _apicurio_folder() -> Path | None:
    own = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    own["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
    for env in (dict(os.environ), own):
        place = Path(subprocess.check_output(["sh", str(_INSTALL), "--where"], env=env, text=True).strip())
        if any(place.glob("*-runner.jar")):
            return place
    return None
