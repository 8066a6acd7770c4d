"""The certificates in use: read again when their files change, without a restart and without touching open connections.

cert-manager and the kubelet replace a mounted Secret by one symlink, so the content counts, not the file's time. Content that cannot be
used changes nothing: the contexts before go on, it is logged once and counted. New handshakes use the new contexts; open connections keep
theirs until they end, at the latest with the age at which doors close connections (HTTP; gRPC where replicas share the port)."""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from typing import Final, Self

from serving.doors.tls import files as pem
from serving.doors.tls.files import HTTP2, TlsContexts, TlsError, TlsFiles, TlsFilesAway
from serving.telemetry import tls_names
from serving.telemetry.metric_doc import Figures

LOOK_EVERY_S: Final = 5.0
SOON_S: Final = 86_400.0
"""A certificate that ends in less than this is said so in the log at each reload."""
UNREADABLE: Final = "unreadable"
"""In place of a digest, for what could not be read: it is tried at every look."""
_log = logging.getLogger("vedette.tls")


class Certificates:
    """The contexts of both doors. Shared by the loops of one process; replaced as a whole."""

    def __init__(self, files: TlsFiles, contexts: TlsContexts, digest: str, now: Callable[[], float] = time.time) -> None:
        self._files, self._contexts, self._now = files, contexts, now
        self._digest = self._seen = digest
        self._reloads = {"loaded": 0, "refused": 0}
        self._problem = ""

    @classmethod
    def open(cls, files: TlsFiles) -> Self:
        """Read the files for the first time. Raises TlsError."""
        content = pem.read(files)
        made = cls(files, pem.open_contexts(files, content), content.digest)
        made._warn_of_end()
        return made

    def context(self, protocol: str) -> ssl.SSLContext:
        """For a handshake that begins now. protocol: files.HTTP1 or HTTP2."""
        return self._contexts.http2 if protocol == HTTP2 else self._contexts.http1

    def problem(self) -> tuple[str, ...]:
        """That the files cannot be used now, a line; for readiness. It names no path: anybody may ask. Empty if they can be used."""
        return ("tls: the files cannot be used, the certificates before are kept",) if self._problem else ()

    async def follow(self) -> None:
        """Look at the files every now and then, in a thread; runs until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await asyncio.to_thread(self.look)
            except Exception:  # whatever it was, the files are followed
                _log.exception("the TLS files cannot be looked at; the certificates before are kept")

    def look(self) -> bool:
        """Read the files again. Returns whether new contexts are in use."""
        digest = UNREADABLE
        try:
            content = pem.read(self._files)
            if content.digest == self._digest:
                self._problem, self._seen = "", self._digest
                return False
            if content.digest == self._seen:  # refused already
                return False
            digest = content.digest
            contexts = pem.open_contexts(self._files, content)
        except TlsError as problem:
            self._refused(problem, UNREADABLE if isinstance(problem, TlsFilesAway) else digest)
            return False
        self._contexts, self._digest, self._seen, self._problem = contexts, content.digest, content.digest, ""
        self._reloads["loaded"] += 1
        _log.info("TLS certificates were read again; the server's ends %s", contexts.expires.isoformat())
        self._warn_of_end()
        return True

    def _refused(self, problem: TlsError, digest: str) -> None:
        """Note files that cannot be used, once for each content. digest: of the content that was judged: the files may have changed since,
        and what they hold now is judged at the next look."""
        if digest != self._seen:
            self._seen = digest
            self._reloads["refused"] += 1
            self._problem = f"the TLS files cannot be used, the certificates before are kept: {problem}"
            _log.error("%s", self._problem)

    def _warn_of_end(self) -> None:
        left_s = self._contexts.expires.timestamp() - self._now()
        if left_s < SOON_S:
            _log.warning(
                "the server's certificate %s ends %s; renew it", self._files.certificate, self._contexts.expires.isoformat()
            )

    def metrics(self) -> Figures:
        """A telemetry.metrics.MetricSource."""
        contexts, now = self._contexts, self._now()
        ends: dict[tuple[str, ...], float] = {("server",): contexts.expires.timestamp() - now}
        if contexts.client_ca_expires is not None:
            ends["client_ca",] = contexts.client_ca_expires.timestamp() - now
        yield tls_names.TLS_EXPIRY, ends
        yield tls_names.TLS_RELOADS, {(outcome,): float(count) for outcome, count in self._reloads.items()}
