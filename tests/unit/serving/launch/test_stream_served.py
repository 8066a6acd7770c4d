"""A worker of streams in a pod serves what VEDETTE_SERVED says, or ends with the reason before it asks a broker."""

import socket
import threading

import pytest

from serving.launch.hybrid import enrich
from serving.launch.stream import StreamProcess, main
from serving.settings import ServingSettings
from serving.stream.codecs.settings import CodecSettings
from serving.stream.ports import StreamError
from serving.stream.settings import StreamSettings
from tests.open_files import open_below


@pytest.mark.parametrize(
    ("served", "says"),
    [
        pytest.param("{", "VEDETTE_SERVED is not a serving specification", id="half a specification"),
        pytest.param('{"models": []}', "must serve some model", id="nothing to serve"),
    ],
)
def test_what_cannot_be_served_is_refused_before_a_broker_is_asked(tmp_path, monkeypatch, capsys, served, says):
    monkeypatch.setenv("VEDETTE_STORE_DIR", str(tmp_path))
    monkeypatch.setenv("VEDETTE_SERVED", served)
    monkeypatch.delenv("VEDETTE_STREAM_SERVERS", raising=False)
    assert main() == 1
    assert says in capsys.readouterr().err


@pytest.fixture
def settings(tmp_path):
    return ServingSettings(store_dir=tmp_path, otlp_endpoint="http://127.0.0.1:1")


def spans_threads():
    return {thread for thread in threading.enumerate() if thread.name == "spans"}


def test_a_worker_that_lacks_a_schema_holds_no_port_and_no_thread(settings):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    before = spans_threads()
    stream = StreamSettings(servers="127.0.0.1:1", http_port=port)
    with pytest.raises(StreamError, match="schema") as told:
        StreamProcess(settings, stream, threading.Event(), CodecSettings(format="avro"))
    socket.create_server(("127.0.0.1", port)).close()
    assert spans_threads() <= before, told  # with its traceback, which keeps what nobody closed


def test_a_worker_whose_port_is_taken_leaves_no_thread_and_no_ledger(settings, tmp_path):
    before = spans_threads()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        stream = StreamSettings(servers="127.0.0.1:1", investigate="closer-looks", http_port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use") as told:
            StreamProcess(settings, stream, threading.Event())
        with pytest.raises(OSError, match="in use") as again:
            enrich(settings, stream, threading.Event())
    assert spans_threads() <= before, told
    assert open_below(tmp_path) == [], again
