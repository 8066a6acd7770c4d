"""The admission webhook's door: HTTPS, an AdmissionReview in, an AdmissionReview out. operators.handlers.admission decides.

The certificate is read from files, as cert-manager writes them, and again when they change."""

import asyncio
import json
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from operators.handlers.admission import AdmissionAnswer, judge
from operators.handlers.pages import STOP_S

_log = logging.getLogger("vedette.operator")
_LOOK_S = 30.0


class CertificateMissing(Exception):
    """The webhook has no certificate; the message says where it was looked for."""


class Certificate:
    """tls.crt and tls.key of a folder. Raises CertificateMissing."""

    def __init__(self, folder: Path) -> None:
        self._crt, self._key = folder / "tls.crt", folder / "tls.key"
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._stamp: tuple[int, int] | None = None
        self.refresh()

    def refresh(self) -> bool:
        """Load it if it changed; new connections then use the new one."""
        try:
            stamp = self._crt.stat().st_mtime_ns, self._key.stat().st_mtime_ns
            if stamp == self._stamp:
                return False
            self.context.load_cert_chain(self._crt, self._key)
        except (OSError, ssl.SSLError) as problem:
            raise CertificateMissing(
                f"the webhook's certificate {self._crt} and {self._key} cannot be read: {problem}; mount a cert-manager "
                "Certificate's secret there, or set VEDETTE_OPERATOR_WEBHOOK_PORT=0"
            ) from problem
        self._stamp = stamp
        return True

    async def follow(self) -> None:
        """Refresh it now and then; one that cannot be read leaves the old one."""
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                self.refresh()
            except CertificateMissing as problem:
                _log.warning("%s", problem)


def application(ours: str, answered: Callable[[str, str], None] = lambda *_: None) -> web.Application:
    """`POST /validate`. ours: the operator's own user name. answered: told of (kind, outcome)."""

    async def validate(request: web.Request) -> web.Response:
        try:
            review: dict[str, Any] = json.loads(await request.read())
            asked = review["request"]
            answer = judge(asked, ours)
        except (ValueError, KeyError, TypeError) as problem:
            return web.json_response({"message": f"not an AdmissionReview: {problem!r}"}, status=400)
        answered(str((asked.get("kind") or {}).get("kind", "")), "allowed" if answer.is_allowed else "refused")
        return web.json_response(
            _review(str(review.get("apiVersion", "admission.k8s.io/v1")), str(asked.get("uid", "")), answer)
        )

    app = web.Application(client_max_size=8 << 20)
    app.router.add_post("/validate", validate)
    return app


async def listen(host: str, port: int, context: ssl.SSLContext | None, app: web.Application) -> tuple[web.AppRunner, int]:
    """Start it; the runner to clean up, and the port."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_S)
    await runner.setup()
    await web.TCPSite(runner, host, port, ssl_context=context).start()
    return runner, runner.addresses[0][1]


def _review(version: str, uid: str, answer: AdmissionAnswer) -> dict[str, Any]:
    response: dict[str, Any] = {"uid": uid, "allowed": answer.is_allowed}
    if answer.warnings:
        response["warnings"] = list(answer.warnings)
    if not answer.is_allowed:
        response["status"] = {"code": 422, "reason": "Invalid", "message": answer.message}
    return {"apiVersion": version, "kind": "AdmissionReview", "response": response}
