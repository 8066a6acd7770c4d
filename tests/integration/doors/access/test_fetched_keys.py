"""Keys over HTTP: whatever the other side does, a look ends in time, follows nobody elsewhere, and keeps no more than it may."""

import json
import socket
import threading

import pytest

from serving.access.authentication import key_sets
from serving.access.authentication.key_sets import fetch_keys
from serving.access.policy import TokenIssuer
from tests.fakes.serving.guarded.token_issuer import AUDIENCE, key_set, open_key_server
from tests.waiting import HANG_S


@pytest.fixture
def server():
    with open_key_server() as opened:
        yield opened


def issuer(keys, **more):
    return TokenIssuer("corp", "https://login.test", (AUDIENCE,), frozenset({"RS256"}), (), keys=keys, **more)


def test_keys_come_as_they_are(server):
    assert fetch_keys(issuer(server.url)) == key_set(("RS256", "one"))


@pytest.mark.parametrize("status", [301, 302, 404, 500])
def test_no_redirect_is_followed_and_no_page_of_an_error_is_read_as_keys(server, status):
    server.status = status
    with pytest.raises(ValueError, match=str(status)):
        fetch_keys(issuer(server.url))
    assert server.asked == 1


def test_an_answer_without_end_is_not_kept(server):
    server.body = b" " * (key_sets.MOST_BYTES + 1)
    with pytest.raises(ValueError, match="more than"):
        fetch_keys(issuer(server.url))


def test_a_server_that_says_nothing_is_left_in_time(server, monkeypatch):
    monkeypatch.setattr(key_sets, "TIMEOUT_S", 0.2)
    server.release.clear()
    with pytest.raises(TimeoutError, match="did not answer within"):
        fetch_keys(issuer(server.url))


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"


@pytest.mark.parametrize("before", [HEAD, b"HTTP/1.1 200 OK\r\nx: "], ids=["of the body", "of the head"])
def test_a_server_that_sends_a_byte_now_and_then_is_left_in_time(monkeypatch, before):
    monkeypatch.setattr(key_sets, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stop = threading.Event()

        def drip():
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(before)
                while not stop.wait(0.02):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        with pytest.raises(TimeoutError, match="did not answer within"):
            fetch_keys(issuer(f"http://127.0.0.1:{listening.getsockname()[1]}/keys"))
        stop.set()
        thread.join(HANG_S)


def test_a_server_that_speaks_no_http(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(ValueError, match="as HTTP"):
            fetch_keys(issuer(f"http://127.0.0.1:{listening.getsockname()[1]}/keys"))
        thread.join(HANG_S)


def test_discovery_believes_only_a_document_of_the_issuer(server):
    place = f"http://127.0.0.1:{server.port}"
    speaks_for = TokenIssuer("corp", place, (AUDIENCE,), frozenset({"RS256"}), (), keys=f"discover:{place}")
    server.body = json.dumps({"issuer": place, "jwks_uri": server.url}).encode()
    assert fetch_keys(speaks_for) == server.body, "both paths are answered alike here"
    assert server.asked == 2
    for document in (
        {"issuer": "https://other", "jwks_uri": server.url},
        {"issuer": place},
        [1],
        {"issuer": place, "jwks_uri": 7},
    ):
        server.body = json.dumps(document).encode()
        with pytest.raises(ValueError, match="does not speak for this issuer"):
            fetch_keys(speaks_for)
    server.body = json.dumps({"issuer": place, "jwks_uri": "http://elsewhere.test/keys"}).encode()
    with pytest.raises(ValueError, match="no https URL"):
        fetch_keys(speaks_for)


def test_the_token_is_not_sent_to_another_host_that_only_the_issuers_answer_names(server, tmp_path):
    (tmp_path / "bearer").write_text("of-the-pod")
    place = f"http://127.0.0.1:{server.port}"
    known = TokenIssuer(
        "corp", place, (AUDIENCE,), frozenset({"RS256"}), (), keys=f"discover:{place}", bearer=str(tmp_path / "bearer")
    )
    with open_key_server() as elsewhere:
        server.body = json.dumps({"issuer": place, "jwks_uri": elsewhere.url}).encode()
        assert fetch_keys(known) == elsewhere.body
        assert (server.shown, elsewhere.shown) == (["Bearer of-the-pod"], [None]), "another port is another host"
        elsewhere.status = 401
        with pytest.raises(ValueError, match=r"answers 401; `bearer` was not sent.*`keys:`"):
            fetch_keys(known)
        server.body = json.dumps({"issuer": place, "jwks_uri": server.url}).encode()
        fetch_keys(known)
        assert server.shown[-1] == "Bearer of-the-pod"


def test_keys_in_a_file(tmp_path):
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(("ES256", "a")))
    assert fetch_keys(issuer(str(path))) == path.read_bytes()
    with pytest.raises(OSError, match="No such file"):
        fetch_keys(issuer(str(tmp_path / "none")))


def test_the_token_for_the_keys_is_read_for_each_look(server, tmp_path, monkeypatch):
    for word in ("first", "second"):
        (tmp_path / "bearer").write_text(f"{word}\n")
        assert fetch_keys(issuer(server.url, bearer=str(tmp_path / "bearer")))
    assert server.shown == ["Bearer first", "Bearer second"]
    with pytest.raises(OSError, match="none"):
        fetch_keys(issuer(server.url, bearer=str(tmp_path / "none")))
