"""Handshakes within limits: how many may be unfinished, how long each may take, how much of a turn of the loop they may use.

A handshake costs the server a signature (0.1 to 1 ms), many times what it costs a client to ask for one. So handshakes wait in a queue, and
a turn of the loop works on them for TURN_S at most: requests of open connections are answered in between. Beyond the limit the
oldest unfinished handshake ends, because an honest client finishes within a few round trips and one that holds places does not.
What each failure was is counted by reason."""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from serving.doors.client_share import ClientShare
from serving.telemetry import tls_names
from serving.telemetry.metric_doc import Figures

TIMEOUT_S: Final = 10.0
"""How long a handshake may take."""
TURN_S: Final = 0.001
"""Time for handshakes in one turn of the loop. A handshake that is begun is carried on, so a turn may take one step longer."""
UNFINISHED_SHARE: Final = 8
"""Unfinished handshakes are at most this part of the connections that a door may have."""
OPENED: Final = "ok"
REASONS: Final = (
    "timeout",
    "closed",
    "crowded",
    "not_tls",
    "old_version",
    "no_cipher",
    "no_certificate",
    "bad_certificate",
    "client_alert",
    "other",
)
"""Why handshakes fail: not finished in time; the client left; more were unfinished than may be; something other than TLS came; only TLS
below 1.2 was offered; no common cipher; a client certificate is required and none came; the one that came is not valid; the client refused
ours; anything else."""
_BY_OPENSSL: Final = {
    "HTTP_REQUEST": "not_tls",
    "HTTPS_PROXY_REQUEST": "not_tls",
    "WRONG_VERSION_NUMBER": "not_tls",
    "BAD_RECORD_TYPE": "not_tls",
    "UNSUPPORTED_PROTOCOL": "old_version",
    "VERSION_TOO_LOW": "old_version",
    "NO_SHARED_CIPHER": "no_cipher",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "no_cipher",
    "NO_SUITABLE_KEY_SHARE": "no_cipher",
    "NO_SUITABLE_GROUPS": "no_cipher",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no_certificate",
    "CERTIFICATE_VERIFY_FAILED": "bad_certificate",
}
_log = logging.getLogger("vedette.tls")


class Handshake(Protocol):
    """One unfinished handshake: serving.doors.tls.transport.TlsConnection."""

    def step(self) -> None:
        """Go on with the bytes that have come. Never raises."""
        ...

    def fail(self, reason: str) -> None:
        """End it, one of REASONS."""
        ...


class Handshakes:
    """The unfinished handshakes of one door. door: its name, a label of the counts. most: how many there may be."""

    def __init__(self, door: str, most: int, loop: asyncio.AbstractEventLoop, share: ClientShare) -> None:
        self.share = share
        self.loop, self.timeout_s = loop, TIMEOUT_S
        self._door, self._most = door, most
        self._unfinished: dict[Handshake, None] = {}
        self._ready: deque[Handshake] = deque()
        self._is_working = False
        self._counts = dict.fromkeys((OPENED, *REASONS), 0)
        self._resumed = 0

    @property
    def unfinished(self) -> int:
        """How many there are."""
        return len(self._unfinished)

    def begin(self, handshake: Handshake, *, takes_place: bool = True) -> None:
        """A connection was accepted. takes_place: False for one that ends at once, so that no other has to go for it."""
        if takes_place and len(self._unfinished) >= self._most:
            next(iter(self._unfinished)).fail("crowded")
        self._unfinished[handshake] = None

    def has_bytes(self, handshake: Handshake) -> None:
        """Bytes of it have come: it is carried on in this turn of the loop or a later one."""
        self._ready.append(handshake)
        if not self._is_working:
            self._is_working = True
            self.loop.call_soon(self._work)

    def end(self, handshake: Handshake, outcome: str, *, is_resumed: bool = False) -> None:
        """It is over: OPENED, or one of REASONS."""
        if handshake in self._unfinished:
            del self._unfinished[handshake]
            self._counts[outcome] += 1
            self._resumed += is_resumed

    def _work(self) -> None:
        until, now = self.loop.time() + TURN_S, self.loop.time
        ready = self._ready
        while ready:
            handshake = ready.popleft()
            try:
                handshake.step()
            except Exception:  # of one connection; the others go on
                _log.exception("a connection failed as it was opened")
                handshake.fail("other")
            if now() >= until:
                break
        if ready:
            self.loop.call_soon(self._work)
        else:
            self._is_working = False

    def metrics(self) -> Figures:
        """A telemetry.metrics.MetricSource."""
        yield tls_names.TLS_HANDSHAKES, {(self._door, outcome): float(count) for outcome, count in self._counts.items()}
        yield tls_names.TLS_RESUMED, {(self._door,): float(self._resumed)}
        yield tls_names.TLS_UNFINISHED, {(self._door,): float(len(self._unfinished))}


def reason_of(problem: ssl.SSLError) -> str:
    """Which of REASONS it was."""
    said = problem.reason or ""
    if said in _BY_OPENSSL:
        return _BY_OPENSSL[said]
    return "client_alert" if "ALERT" in said else "other"


Wrap = Callable[[Callable[[], asyncio.Protocol]], Callable[[], asyncio.Protocol]]
"""Puts TLS before the connections that a factory makes, or nothing."""


def plain(make: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
    """No TLS."""
    return make
