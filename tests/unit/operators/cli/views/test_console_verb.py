"""`vedette console` as somebody types it, without serving."""

import io
import json
import logging
import socket

import pytest
from typer.testing import CliRunner

from operators.cli.console import CommandError
from operators.cli.main import app
from operators.console import console_process, server
from operators.control.folder import ControlFolder
from serving.store_layout import FILE, LAYOUT, StoreLayoutError


@pytest.fixture
def root(monkeypatch):
    """The root of the logs; pytest's own handlers are put back afterwards."""
    found = logging.getLogger()
    monkeypatch.setattr(found, "handlers", list(found.handlers))
    monkeypatch.setattr(found, "level", found.level)
    of_server = logging.getLogger("uvicorn")
    before = of_server.level
    yield found
    of_server.setLevel(before)


def asks(store, *words):
    return CliRunner().invoke(app, ["console", "--store-dir", str(store), *words])


def test_a_port_that_is_taken_is_named_with_the_way_out(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = asks(tmp_path, "--port", str(port))
    assert isinstance(said.exception, CommandError)
    assert f"127.0.0.1:{port}" in str(said.exception)
    assert "--port" in str(said.exception)


@pytest.fixture
def newer_default(tmp_path, monkeypatch):
    """The store of this machine has a newer layout; a cluster is reached."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console_process, "yield_to_others", lambda: None)
    monkeypatch.setattr(server.ConsoleServer, "run", lambda self: None)
    monkeypatch.setattr("operators.control.cluster.connect", lambda **given: ControlFolder(tmp_path / "cluster"))
    store = tmp_path / ".vedette"
    store.mkdir()
    (store / FILE).write_text(json.dumps({"layout": LAYOUT + 1}))
    return store


@pytest.mark.parametrize(
    "words", [("--context", "kind"), ("--namespace", "soc"), ("--kubeconfig", "config")], ids=lambda w: w[0]
)
def test_a_console_of_a_cluster_shows_no_store_and_checks_none(words, newer_default, root):
    said = CliRunner().invoke(app, ["console", *words, "--port", "0"])
    assert (said.exit_code, said.exception) == (0, None)
    link = CliRunner().invoke(app, ["console", *words, "--link"])
    assert link.exit_code == 0, link.exception


def test_a_store_that_a_console_of_a_cluster_shows_is_checked(newer_default, monkeypatch):
    monkeypatch.setenv("VEDETTE_STORE_DIR", str(newer_default))
    assert isinstance(CliRunner().invoke(app, ["console", "--context", "kind", "--port", "0"]).exception, StoreLayoutError)
    monkeypatch.delenv("VEDETTE_STORE_DIR")
    assert isinstance(CliRunner().invoke(app, ["console", "--port", "0"]).exception, StoreLayoutError)


def test_what_people_do_at_the_console_is_in_its_log(tmp_path, monkeypatch, root):
    """Where no store is shown its log is all there is."""
    monkeypatch.setattr(console_process, "yield_to_others", lambda: None)
    monkeypatch.setattr(server.ConsoleServer, "run", lambda self: None)
    assert asks(tmp_path, "--port", "0").exit_code == 0
    out = io.StringIO()
    (handler,) = root.handlers
    monkeypatch.setattr(handler, "stream", out)  # the runner has closed its own
    logging.getLogger("vedette.console").info("console.sign-in ana")
    logging.getLogger("uvicorn.error").info("nobody asked for this")
    (line,) = out.getvalue().splitlines()
    assert json.loads(line)["message"] == "console.sign-in ana"
