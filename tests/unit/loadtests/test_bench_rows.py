import socket
import threading
from contextlib import ExitStack
from types import SimpleNamespace

from loadtests.bench.benchmarks.rows import _Http


def test_a_kept_client_connects_anew_when_the_server_ends_an_old_connection():
    served = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in (
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\none",
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo",
            ):
                connection, _ = listener.accept()
                with connection:
                    served.append(connection.recv(4096))
                    connection.sendall(answer)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        with ExitStack() as stack:
            client = _Http(stack, SimpleNamespace(name="a server", http_port=listener.getsockname()[1]))  # type: ignore[arg-type]
            assert [bytes(client.ask(client.request(b"{}"))[1]) for _ in range(2)] == [b"one", b"two"]
        server.join()
    assert len(served) == 2
