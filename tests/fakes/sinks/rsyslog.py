"""A real rsyslogd of one's own on loopback, which writes what it gets into a file: one line a message, JSON."""

import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from tests.waiting import until

PROGRAM = shutil.which("rsyslogd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
DRIVERS = [
    path for folder in ("/usr/lib", "/usr/lib64", "/usr/local/lib") for path in Path(folder).glob("**/rsyslog/lmnsd_ossl.so")
]

CONFIG = """
global(workDirectory="{folder}" maxMessageSize="4m"{tls})
module(load="imtcp"{mode})
template(name="line" type="list" option.jsonf="on") {{
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="id" name="msgid" format="jsonf")
  property(outname="pri" name="pri" format="jsonf")
  property(outname="data" name="structured-data" format="jsonf")
  property(outname="text" name="msg" format="jsonf")
}}
ruleset(name="all") {{ action(type="omfile" file="{folder}/messages" template="line" flushOnTXEnd="on") }}
input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="all")
"""


class Rsyslog:
    """certificates: a folder with tls.crt and tls.key; it then speaks TLS only. asks: clients need a certificate of theirs."""

    def __init__(self, folder: Path, certificates: Path | None = None, *, asks: bool = False) -> None:
        self.folder, self._certificates, self._asks = folder, certificates, asks
        self.port = free_port()
        self._running: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        tls = mode = ""
        if self._certificates is not None:
            files = {"CAFile": "tls.crt", "CertFile": "tls.crt", "KeyFile": "tls.key"}
            tls = ' defaultNetstreamDriver="ossl"' + "".join(
                f' defaultNetstreamDriver{name}="{self._certificates / file}"' for name, file in files.items()
            )
            auth = "x509/certvalid" if self._asks else "anon"
            mode = f' streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="{auth}"'
        config = self.folder / "rsyslog.conf"
        config.write_text(CONFIG.format(folder=self.folder, port=self.port, tls=tls, mode=mode), encoding="utf-8")
        assert PROGRAM is not None
        self._log = (self.folder / "log").open("ab")
        self._running = subprocess.Popen(
            [PROGRAM, "-n", "-f", str(config), "-i", str(self.folder / "pid")], stdout=self._log, stderr=subprocess.STDOUT
        )
        until(self._listens, lambda: (self.folder / "log").read_text(encoding="utf-8")[-2000:])

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.send_signal(how)
            running.wait(60)
            self._log.close()

    def messages(self) -> list[dict[str, Any]]:
        path = self.folder / "messages"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def waits_for(self, count: int) -> list[dict[str, Any]]:
        until(lambda: len(self.messages()) >= count, lambda: f"{len(self.messages())} of {count} messages")
        return self.messages()

    def _listens(self) -> bool:
        assert self._running is not None
        assert self._running.poll() is None, (self.folder / "log").read_text(encoding="utf-8")[-2000:]
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def required(*, tls: bool = False) -> None:
    """Skips with a plain reason where rsyslogd cannot be had."""
    if PROGRAM is None:
        pytest.skip("rsyslogd is not installed; `make services` installs it")
    if tls and not DRIVERS:
        pytest.skip("rsyslogd has no TLS driver (rsyslog-openssl); `make services` installs it")
