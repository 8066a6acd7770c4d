"""How alerts are sent to a SIEM, followed to the letter, with the page's own receiver."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.running.how_to import Reader, played
from tests.ports import free_port
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
PAGE = "send-alerts-to-a-siem.md"


def test_send_alerts_to_a_siem(tmp_path: Path):
    reader = Reader(tmp_path)
    reader.makes_files(PAGE)
    port = free_port()
    for name in ("sinks.yaml", "receiver.py"):  # tests never use a page's ports
        path = tmp_path / name
        path.write_text(path.read_text(encoding="utf-8").replace("9099", str(port)), encoding="utf-8")
    (tmp_path / "soar-secret").write_text("made anew by the page", encoding="utf-8")
    ahead = iter(played(PAGE))
    said = []
    for command in ahead:
        said.append(reader.types(PAGE, command))
        if command.startswith("openssl"):
            break
    assert said[0].startswith("CEF:0|Vedette|")
    assert "T1498" in said[1]
    with (tmp_path / "got").open("wb") as out:
        receiver = subprocess.Popen([sys.executable, "receiver.py"], cwd=tmp_path, stdout=out)
        try:
            until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
            for command in ahead:
                reader.types(PAGE, command)
        finally:
            receiver.kill()
            receiver.wait()
    lines = (tmp_path / "got").read_text(encoding="utf-8").splitlines()
    assert [line.rpartition(" ")[0] for line in lines] == ["Test of a sink: no attack", "Network flows of infected hosts"]
