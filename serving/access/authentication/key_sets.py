"""The keys of token issuers: fetched in a thread, kept, and read again. If an issuer does not answer, its keys stay valid until they are
too old.

    never read                      `keys` raises KeysAway
    read                            `keys` gives them; a look every `every_s` seconds
    a look fails                    the last keys count until they are `stale_s` old, then KeysAway
    a token names an unknown key    one look at once, at most every AGAIN_S seconds, for all callers

Redirects are not followed: an issuer names its keys itself, and a redirect would carry the question elsewhere."""

import asyncio
import http.client
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from serving.access.authentication.tokens import VerifyingKey, read_key_set
from serving.access.client_credentials import read_secret
from serving.access.policy import TokenIssuer
from serving.tls_trust import client_trust

AGAIN_S: Final = 10.0
"""Shortest time between two looks because of unknown key ids."""
TIMEOUT_S: Final = 5.0
"""How long a look may take in all."""
MOST_BYTES: Final = 1 << 20
MOST_WAITING: Final = 200
"""Requests that may wait for one look; more are refused at once, so that a slow issuer does not fill the memory with them."""
_DISCOVER: Final = "discover:"
_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_log = logging.getLogger("vedette.access")

Fetch = Callable[[TokenIssuer], bytes]
"""Gives an issuer's JWKS. Raises OSError or ValueError. Called in a thread."""


class KeysAway(Exception):
    """The keys cannot be had, or are too old."""


class KeySet:
    """The keys of one issuer. now_s: a clock that never goes back. changed: called when other keys were read."""

    def __init__(
        self,
        issuer: TokenIssuer,
        now_s: Callable[[], float],
        fetch: Fetch | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.issuer = issuer
        self._now_s, self._fetch, self._changed = now_s, fetch or fetch_keys, changed
        self._waiting = 0
        self._keys: Mapping[str, VerifyingKey] = {}
        self._text = b""
        self._read_at = self._tried_at = -float("inf")
        self._looking: asyncio.Task[None] | None = None
        self.failures = 0
        self.problem = ""
        """Why the last look failed; empty if it did not."""

    @property
    def age_s(self) -> float:
        """Seconds since the keys were read; infinity if they never were."""
        return self._now_s() - self._read_at

    def keys(self) -> Mapping[str, VerifyingKey]:
        """By key id. Raises KeysAway."""
        if self.age_s > self.issuer.stale_s:
            raise KeysAway(self.problem or "not read yet")
        return self._keys

    def is_due(self) -> bool:
        """Whether it is time for a look: every `every_s` seconds, after a failure every AGAIN_S."""
        return self._now_s() - self._tried_at >= (AGAIN_S if self.problem else self.issuer.every_s)

    def may_look(self) -> bool:
        """Whether an unknown key id may lead to a look now, or one is under way."""
        if self._looking is not None:
            return self._waiting < MOST_WAITING
        return self._now_s() - self._tried_at >= AGAIN_S

    async def look(self) -> None:
        """Read the keys again; callers meanwhile wait for the same read. Raises only if the wait is cancelled."""
        if self._looking is None:
            self._tried_at = self._now_s()
            self._looking = asyncio.get_running_loop().create_task(self._look())
            self._looking.add_done_callback(self._looked)
        self._waiting += 1
        try:
            await asyncio.wait({self._looking})  # a look that `close` has ended raises nothing here: the request is answered
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Stop looking."""
        if self._looking is not None:
            self._looking.cancel()

    def _looked(self, _: "asyncio.Task[None]") -> None:
        self._looking = None

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S + 1):
                text = await asyncio.to_thread(self._fetch, self.issuer)
            keys = read_key_set(text)
        except Exception as problem:  # an issuer may answer anything at all
            words = str(problem) or type(problem).__name__
            if words != self.problem:
                _log.warning(
                    "issuer %s: its keys cannot be read: %s; the last ones count for now", self.issuer.name, words[:300]
                )
            self.failures += 1
            self.problem = words
            return
        if self.problem:
            _log.info("issuer %s: its keys are read again", self.issuer.name)
        has_changed = text != self._text
        self._keys, self._text, self._read_at, self.problem = keys, text, self._now_s(), ""
        if has_changed:
            self._changed()


def fetch_keys(issuer: TokenIssuer) -> bytes:
    """The JWKS from where the policy says. Raises OSError, ValueError."""
    until_s = time.monotonic() + TIMEOUT_S
    place, remark = issuer.keys, ""
    if place.startswith(_DISCOVER):
        found = json.loads(_read(place.removeprefix(_DISCOVER).rstrip("/") + _WELL_KNOWN, issuer, until_s))
        if not isinstance(found, dict) or found.get("issuer") != issuer.issuer or not isinstance(found.get("jwks_uri"), str):
            raise ValueError(f"{_WELL_KNOWN} does not speak for this issuer, or names no jwks_uri; write `keys:` in the policy")
        place, parts = found["jwks_uri"], urlsplit(found["jwks_uri"])
        asked = urlsplit(issuer.issuer)
        if parts.scheme != "https" and (parts.scheme, parts.hostname) != (asked.scheme, asked.hostname):
            raise ValueError("its jwks_uri is no https URL")
        if issuer.bearer and _origin(place) != _origin(issuer.issuer):
            issuer = replace(issuer, bearer="")
            remark = "; `bearer` was not sent, as only the issuer's answer names this host: name its URL by `keys:` to send it"
    try:
        return _read(place, issuer, until_s)
    except ValueError as problem:
        raise ValueError(f"{problem}{remark}") from problem


def _origin(url: str) -> tuple[str, str | None, int]:
    """Scheme, host and port: the destination of a credential. Raises ValueError for an invalid port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _read(place: str, issuer: TokenIssuer, until_s: float) -> bytes:
    if urlsplit(place).scheme in {"http", "https"}:
        return _get(place, issuer, until_s)
    with Path(place).open("rb") as file:
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise ValueError(f"{place} is larger than {MOST_BYTES} bytes")
    return text


def _get(url: str, issuer: TokenIssuer, until_s: float) -> bytes:
    """One GET whose every wait ends by until_s, however slowly the server sends. Raises OSError, ValueError."""
    parts = urlsplit(url)
    host, left_s = parts.hostname or "", max(until_s - time.monotonic(), 0.001)
    headers = {"accept": "application/jwk-set+json, application/json", "user-agent": "vedette", "connection": "close"}
    if issuer.bearer:
        headers["authorization"] = f"Bearer {read_secret(Path(issuer.bearer))}"
    connection = _connection(url, issuer, left_s)
    ends = threading.Timer(left_s, _hang_up, (connection,))
    ends.daemon = True
    ends.start()
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers=headers)
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise ValueError(f"{host} answers {answer.status}")
        text = b""
        while part := answer.read1(64 * 1024):
            text += part
            if len(text) > MOST_BYTES:
                raise ValueError(f"{host} answers more than {MOST_BYTES} bytes")
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"{host} did not answer within {TIMEOUT_S:g} s")
            if connection.sock is not None:
                connection.sock.settimeout(left_s)
        if time.monotonic() >= until_s:  # what was read ended because we hung up
            raise TimeoutError(f"{host} did not answer within {TIMEOUT_S:g} s")
    except (http.client.HTTPException, OSError) as problem:
        if time.monotonic() >= until_s:
            raise TimeoutError(f"{host} did not answer within {TIMEOUT_S:g} s") from problem
        if isinstance(problem, OSError):
            raise
        raise ValueError(f"{host} does not answer as HTTP: {type(problem).__name__}") from problem
    finally:
        ends.cancel()
        with suppress(OSError):
            connection.close()
    return text


def _connection(url: str, issuer: TokenIssuer, timeout_s: float) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme == "https":
        context = trust_of(issuer)
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout_s, context=context)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)


def trust_of(issuer: TokenIssuer) -> ssl.SSLContext:
    """How the server of its keys is verified. Raises OSError, ssl.SSLError for a `ca` that cannot be read."""
    return client_trust(issuer.ca or None)


def _hang_up(connection: http.client.HTTPConnection) -> None:
    """End a read that drips: the socket's own timeout starts anew with each byte."""
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
