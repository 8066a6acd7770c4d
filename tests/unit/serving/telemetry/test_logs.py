"""One line an event, whatever it holds."""

import io
import json
import logging

import pytest

from serving.telemetry.logs import configure_logging
from serving.telemetry.tracing.current import enter_trace, leave_trace


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restore_root_logger():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_machines_get_one_json_object_a_line():
    out = io.StringIO()
    configure_logging("info", out)
    logging.getLogger("serving.app").warning("line one\nline %s", "two", extra={"model": "flows", "rows": 3})
    (line,) = out.getvalue().splitlines()
    event = json.loads(line)
    assert event.pop("time").endswith("Z")
    expected = {"level": "warning", "logger": "serving.app", "message": "line one\nline two", "model": "flows", "rows": 3}
    assert event == expected


def test_an_exception_keeps_its_trace_in_the_same_line():
    out = io.StringIO()
    configure_logging("info", out)
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("x").exception("failed", extra={"what": object()})
    (line,) = out.getvalue().splitlines()
    assert "ValueError: no" in json.loads(line)["exception"]


def test_a_person_gets_plain_text():
    out = Terminal()
    configure_logging("info", out)
    logging.getLogger("serving.app").info("ready on %s", 8080)
    assert out.getvalue().endswith(" info serving.app: ready on 8080\n")
    assert not out.getvalue().startswith("{")


def test_the_level_is_kept_and_configuring_twice_does_not_write_twice():
    out = io.StringIO()
    configure_logging("warning", out)
    configure_logging("warning", out)
    logging.getLogger("x").info("quiet")
    logging.getLogger("x").error("loud")
    assert len(out.getvalue().splitlines()) == 1


@pytest.mark.parametrize("out", [pytest.param(io.StringIO(), id="machines"), pytest.param(Terminal(), id="a person")])
def test_a_line_about_a_traced_request_names_its_trace_and_the_next_does_not(out):
    configure_logging("info", out)
    entered = enter_trace("0af7651916cd43dd8448eb211c80319c")
    logging.getLogger("x").warning("the store is out")
    leave_trace(entered)
    logging.getLogger("x").warning("the store is back")
    during, after = out.getvalue().splitlines()
    assert "0af7651916cd43dd8448eb211c80319c" in during
    assert "trace_id" not in after
