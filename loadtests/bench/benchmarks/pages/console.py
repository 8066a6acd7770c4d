"""The console over a log of 100,000 alerts: how soon its pages begin to come, and how much they weigh.

A store gets 100,000 alerts among as many benign answers, in ten signed segments, each row with 20 features; a tenth of the alerts have a
label. A real console serves it on loopback, in this process; a client with a session asks for each page. `first byte` is the time from the
request to the first byte of the body, the median of each round's requests; `weight` the bytes of the page. `index` is how long the first
reading of the log takes, which happens once."""

import asyncio
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import numpy as np

from lifecycle.labels.label import Label
from lifecycle.labels.label_log import LabelLog
from loadtests.bench.errors import BenchError
from loadtests.bench.report import Row, row
from loadtests.bench.targets import value
from operators.console.console_process import open_port
from operators.console.launch import ConsoleOptions, make_console
from operators.console.roles import ALL_ROLES, SignedInPerson
from operators.console.server import ConsoleServer
from operators.console.sign_in import keep_link_key
from operators.control.folder import ControlFolder
from serving.audit.encoding import encode_record
from serving.audit.record import AuditRecord
from serving.audit.segments import ChainedSegments
from serving.audit.signed_note import Signer

IS_LONG: Final = True
ALERTS: Final = 100_000
SEGMENTS: Final = 10
FEATURES: Final = 20
REQUESTS: Final = 20
READ_WITHIN_S: Final = 1800.0
WITHIN_MS: Final = 200.0
MOST_KB: Final = 300.0
BEGAN_US: Final = 1_760_000_000_000_000
US_A_RECORD: Final = 100_000
PAGES: Final[Mapping[str, str]] = {
    "detections": "/detections",
    "unlabelled": "/detections?verdict=any&unlabelled=1",
    "one model, a time": f"/detections?model=flows&until={BEGAN_US // 1_000_000}",
    "one alert": "/detections/alert?event=bench-8",
    "audit": "/audit",
    "receipt": "/audit/receipt?id=bench-8",
    "state of the logs": "/audit/log",
}


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Write the store, serve it, ask. Raises BenchError if a page is not what it should be."""
    alerts = ALERTS // 50 if quick else ALERTS
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as name:
        store = Path(name)
        write_store(store, alerts)
        with served(store) as client:
            index_s = read_whole(client)
            taken: dict[str, list[float]] = {}
            weights: dict[str, int] = {}
            for _ in range(rounds):
                for page, path in PAGES.items():
                    found = [first_byte(client, path) for _ in range(REQUESTS)]
                    taken.setdefault(page, []).append(statistics.median(ms for ms, _ in found))
                    weights[page] = max(size for _, size in found)
    return list(rows(taken, weights, index_s, alerts))


def rows(taken: Mapping[str, Sequence[float]], weights: Mapping[str, int], index_s: float, alerts: int) -> Iterator[Row]:
    """First byte and weight of each page."""
    for page, each in taken.items():
        yield row(f"first byte/{page}/{alerts:,} alerts", each, "ms", target=value("<", WITHIN_MS))
    for page, size in weights.items():
        yield row(f"weight/{page}/{alerts:,} alerts", [size / 1000], "KB", target=value("<", MOST_KB))
    yield row(f"index/first reading/{alerts:,} alerts", [index_s], "s")


def read_whole(client: httpx.Client) -> float:
    """Seconds until the pages have the whole log. Raises BenchError if that takes too long."""
    began_s = time.perf_counter()
    while (took_s := time.perf_counter() - began_s) < READ_WITHIN_S:
        if "index-reading" not in client.get("/detections").text:
            return took_s
        time.sleep(0.2)
    raise BenchError(f"the log was not read within {READ_WITHIN_S:.0f} s")


def first_byte(client: httpx.Client, path: str) -> tuple[float, int]:
    """Milliseconds until the first byte of the body, and the bytes of it. Raises BenchError for an error page."""
    began_s = time.perf_counter()
    with client.stream("GET", path, headers={"accept-encoding": "identity"}) as answer:
        chunks = answer.iter_raw()
        first = next(chunks, b"")
        took_ms = (time.perf_counter() - began_s) * 1e3
        size = len(first) + sum(map(len, chunks))
    if answer.status_code != 200:
        raise BenchError(f"{path} answers {answer.status_code}")
    return took_ms, size


@contextmanager
def served(store: Path) -> Iterator[httpx.Client]:
    """A console of the store, and a client that is signed in."""
    listener = open_port("127.0.0.1", 0)
    port = listener.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    app = make_console(ConsoleOptions(ControlFolder(store), store), port, keep_link_key(store, address))
    server = ConsoleServer(app.asgi(), listener)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    session = app.sessions.begin(SignedInPerson("bench", ALL_ROLES, "key"))
    try:
        with httpx.Client(base_url=address, cookies={app.cookie: session.id}, timeout=60) as client:
            yield client
    finally:
        server.stop()
        thread.join(10)
        listener.close()


def write_store(store: Path, alerts: int) -> None:
    """The log of predictions and the log of labels, signed."""
    signer = Signer.create(store / "keys" / "audit.pem", "audit")
    (store / "keys" / "trusted").mkdir()
    (store / "keys" / "trusted" / "audit.pub").write_text(f"{signer.verifier}\n", encoding="utf-8")
    clock = iter(range(BEGAN_US, BEGAN_US + 10**9))
    (store / "audit").mkdir()
    chain = ChainedSegments(store / "audit", "1-bench", segment_bytes=1 << 40, signer=lambda: signer, now_us=clock.__next__)
    rng = np.random.default_rng(17)
    values = np.round(rng.lognormal(2.0, 1.5, (1000, FEATURES)), 2).astype(np.float32)
    for segment in range(SEGMENTS):
        numbers = range(2 * alerts * segment // SEGMENTS, 2 * alerts * (segment + 1) // SEGMENTS)
        lines = [encode_record(_record(number, values[number % 1000])) for number in numbers]
        for start in range(0, len(lines), 1000):
            chain.append(lines[start : start + 1000])
            chain.checkpoint()
        chain.end()
    labels = LabelLog(store / "labels", signer=lambda: signer)
    labels.give_all([_label(number) for number in range(0, 2 * alerts, 20)])


def _record(number: int, values: np.ndarray) -> AuditRecord:  # type: ignore[type-arg]
    is_alert = number % 2 == 0
    return AuditRecord(
        receipt=f"bench-{number}",
        time_us=BEGAN_US + number * US_A_RECORD,
        door="http",
        model=("flows", "dns", "logins")[number % 3],
        version="1",
        revision="sha256:" + "0" * 64,
        variant="stable",
        source="model",
        request_id=None,
        trace_id=None,
        rows=1,
        inputs={},
        features={f"feature_{i}": values[i : i + 1] for i in range(FEATURES)},
        event_times_us={},
        operating_point="siem_alerting",
        scores=np.array([0.9 if is_alert else 0.1], np.float32),
        verdicts=np.array([2 if is_alert else 0]),
        degraded=np.array([number % 50 == 0]),
        latency_us=500,
    )


def _label(number: int) -> Label:
    return Label(
        label_id=f"l-{number}",
        event=f"bench-{number}",
        model=("flows", "dns", "logins")[number % 3],
        verdict="benign",
        analyst="ada",
        time_us=BEGAN_US + number,
    )
