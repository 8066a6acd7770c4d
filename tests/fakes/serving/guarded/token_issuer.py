"""An issuer of tokens: keys of every kind, tokens signed with them, and its JWKS, also over HTTP as slowly or wrongly as a test wants."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "https://login.test/realms/soc"
AUDIENCE = "vedette"


def private_key(kind: str, number: int = 0) -> Any:
    """A private key; made once, because RSA keys take long."""
    return _private_key(kind, number)


@cache
def _private_key(kind: str, number: int) -> Any:
    del number  # it tells keys of one kind apart
    if kind == "RS256":
        return rsa.generate_private_key(65537, 2048)
    if kind == "small":
        return rsa.generate_private_key(65537, 1024)
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ES256" else ed25519.Ed25519PrivateKey.generate()


def public_jwk(kind: str, kid: str, number: int = 0) -> dict[str, Any]:
    """Its public half as a JWK."""
    public = private_key(kind, number).public_key()
    algorithm = {"ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}.get(kind, RSAAlgorithm)
    return {**algorithm.to_jwk(public, as_dict=True), "kid": kid, "use": "sig"}


def key_set(*keys: tuple[str, str] | tuple[str, str, int]) -> bytes:
    """A JWKS of (kind, kid[, number])."""
    return json.dumps({"keys": [public_jwk(*key) for key in keys]}).encode()


def claims(now_s: float, **more: Any) -> dict[str, Any]:
    """What a good token says; None takes a claim away."""
    whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "soar", "iat": int(now_s), "exp": int(now_s) + 600, **more}
    return {name: value for name, value in whole.items() if value is not None}


def token(
    now_s: float, *, kind: str = "RS256", kid: str | None = "one", number: int = 0, header: Any = None, **more: Any
) -> bytes:
    """A signed token."""
    head = {**({} if kid is None else {"kid": kid}), **(header or {})}
    return jwt.encode(claims(now_s, **more), private_key(kind, number), algorithm=kind, headers=head).encode()


def unsigned(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> bytes:
    """A token put together by hand."""
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


class KeyServer:
    """A JWKS over HTTP. answer: status, body.

    shown: the header `authorization` of each request. release: an event that holds the answer back until it is set."""

    def __init__(self) -> None:
        self.status, self.body, self.asked = 200, key_set(("RS256", "one")), 0
        self.shown: list[str | None] = []
        self.release = threading.Event()
        self.release.set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/keys"


@contextmanager
def open_key_server() -> Iterator[KeyServer]:
    """Start, yield, stop."""
    state = KeyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked += 1
            state.shown.append(self.headers["authorization"])
            state.release.wait(30)
            self.send_response(state.status)
            self.send_header("content-length", str(len(state.body)))
            if state.status in {301, 302}:
                self.send_header("location", state.url)
            self.end_headers()
            self.wfile.write(state.body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.release.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def now() -> float:
    """Seconds since the epoch."""
    return time.time()
