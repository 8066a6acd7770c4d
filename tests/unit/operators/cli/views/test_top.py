"""`vedette top`: one screen of 80 columns and 24 lines whatever there is to show, states instead of crashes, documents for programs."""

import asyncio
import fcntl
import io
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from rich.console import Console
from typer.testing import CliRunner

from operators.cli.main import app
from operators.cli.views.top_screen import ORDERS, screen
from operators.control.figures.overview import UNREADABLE, Overview, ServiceRow, Watcher
from operators.control.figures.pages import named_pages
from operators.control.figures.rates import LogFigures, ModelFigures, PlaneFigures
from operators.control.folder import ControlFolder
from operators.rollout.status import Phase
from tests import waiting
from tests.fakes.operator import control_place, metrics_page

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
BUSY = ModelFigures(
    replicas=12, requests_per_s=123456.7, rows_per_s=1e6, p50_ms=0.42, p99_ms=1999.0, failed_per_s=0.2, refused_per_s=1.0,
    alerts_per_s=0.004, degraded_ratio=0.0042, feature_age_p50_s=90000.0, feature_age_p99_s=1.0,
)  # fmt: skip
PLANE = PlaneFigures(
    AT, 2.0, 12, 3.0, {"ids": BUSY}, {"busy": 12.0, "full": 2.5}, {"features": "open", "cache": "closed"},
    LogFigures(True, False, 0.3, 120.0, 0.0), away=("http://10.0.0.9:8080/metrics did not answer within 2 s",),
)  # fmt: skip


def drawn(overview: Overview, width: int = 80, height: int = 24, **how) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, no_color=True, force_terminal=False)
    console.print(screen(overview, width, height, **how))
    return out.getvalue().splitlines()


def row(number: int, phase: str = Phase.PROGRESSING) -> ServiceRow:
    return ServiceRow(
        f"detector-of-lateral-movement-{number:03}", "ids", phase, 2, 4, 25.0, "undecided", drift={"major": 1}, figures=BUSY
    )


@pytest.mark.parametrize("width", [80, 132])
def test_five_hundred_services_fit_one_screen(width: int):
    overview = Overview("/srv/vedette/a/very/long/path/of/a/store/control", AT, tuple(map(row, range(500))), PLANE)
    lines = drawn(overview, width, 24, interval_s=2.0)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for words in (
        "2/4 25%",
        "undecided",
        "123k",
        "more services",
        "open: features",
        "14.5/s",
        "away",
        "500 major",
        "q quits",
    ):
        assert words in text, words


def test_a_high_terminal_shows_more():
    overview = Overview("here", AT, tuple(map(row, range(40))), PLANE)
    assert sum("detector" in line for line in drawn(overview, 100, 60)) > sum(
        "detector" in line for line in drawn(overview, 100, 24)
    )


def test_what_needs_somebody_is_first_and_keys_sort_otherwise():
    quiet = ServiceRow("aa", "aa", Phase.HEALTHY, figures=BUSY)
    overview = Overview(
        "here", AT, (quiet, row(1, Phase.ABORTED), ServiceRow("zz", "zz", UNREADABLE, waiting_for="damaged")), PLANE
    )
    first = [line.split()[0][:2] for line in drawn(overview)[2:5]]
    assert first == ["zz", "de", "aa"]
    assert [line.split()[0][:2] for line in drawn(overview, order="n")[2:5]] == ["aa", "de", "zz"]
    for key in ORDERS:
        drawn(overview, order=key)


def test_nothing_known_is_shown_as_such():
    text = "\n".join(drawn(Overview("here", AT, (), PlaneFigures(AT), problem="the cluster does not answer")))
    assert "no rate" not in text
    assert "the first look" in text
    assert "the cluster does not answer" in text


def test_control_characters_of_names_are_spelt_out():
    text = "\n".join(drawn(Overview("here", AT, (ServiceRow("a\x1b[2Jb", "x", Phase.HEALTHY),), PLANE)))
    assert "\x1b" not in text


async def test_a_store_with_a_rollout_and_its_replicas(tmp_path):
    async with control_place.placed(tmp_path) as place:
        place.folder.change("ids", lambda _: control_place.document(control_place.revision(1)))
        await place.look(1)
        place.folder.change(
            "ids", lambda d: {**d, "spec": {**d["spec"], **control_place.document(control_place.revision(2))["spec"]}}
        )
        await place.look(3)
        watcher = Watcher(place.folder, pages=lambda: named_pages([place.page.address]), store_dir=tmp_path)
        seen = await asyncio.to_thread(watcher.read)
    (found,) = seen.services
    assert (found.name, found.phase, found.steps) == ("ids", Phase.PROGRESSING, 7)
    assert found.figures is not None
    assert found.figures.replicas == 1


def test_a_damaged_document_is_a_row(tmp_path):
    folder = ControlFolder(tmp_path)
    (tmp_path / "control" / "services").mkdir(parents=True)
    (tmp_path / "control" / "services" / "ids.yaml").write_text("spec: [")
    (found,) = Watcher(folder).read().services
    assert found.phase == UNREADABLE
    assert "ids.yaml" in found.waiting_for


async def test_documents_for_programs(tmp_path):
    async with metrics_page.served(metrics_page.Page(metrics_page.page("r"))) as (address,):
        arguments = ["top", "--once", "--json", "--interval", "0.2", "--metrics", address, "--store-dir", str(tmp_path)]
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["replicas"], found["requests_per_s"], found["away"]) == (1, 0.0, [])
    (service,) = found["services"]
    assert (service["name"], service["phase"], service["figures"]["replicas"]) == ("ids", "unmanaged", 1)


def test_an_address_that_is_none_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["top", "--once", "--metrics", "10.0.0.7:8080", "--store-dir", str(tmp_path)])
    assert result.exit_code != 0
    assert "http://HOST:PORT" in str(result.exception)


@pytest.mark.heavy
def test_on_a_terminal_it_follows_the_size_and_ends_with_q(tmp_path):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "operators.cli.main", "top", "--interval", "60", "--store-dir", str(tmp_path)]
    environment = {**os.environ, "TERM": "vt100", "NO_COLOR": "1"}
    child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True)
    os.close(slave)
    os.set_blocking(master, False)
    seen = b""

    def shows(words: bytes) -> bool:
        nonlocal seen
        with suppress(OSError):
            seen += os.read(master, 65536)
        return words in seen

    try:
        waiting.until(lambda: shows(b"q quits"), lambda: seen)
        assert b"\x1b[3" not in seen, "a terminal without colours gets none"
        os.write(master, b"n")
        waiting.until(lambda: shows(b"(now: name)"), lambda: seen)
        seen = b""
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        os.kill(child.pid, signal.SIGWINCH)
        waiting.until(lambda: shows(b"q quits"), lambda: seen)
        os.write(master, b"q")
        waiting.until(lambda: shows(b"\x00") or child.poll() is not None)
        assert child.wait(waiting.HANG_S) == 0
    finally:
        child.kill()
        child.wait()
        os.close(master)
