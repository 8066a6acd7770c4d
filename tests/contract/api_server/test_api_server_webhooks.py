"""Laws of admission webhooks: who is asked, over TLS, what a refusal, a patch, a warning and silence lead to."""

import asyncio
import base64
import json
import ssl
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from tests.contract.api_server.api_server_kind import MERGE, eventually, refused
from tests.fakes.apiserver.certificates import issue
from tests.waiting import HANG_S

Json = dict[str, Any]
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1"


OF_EACH_NAMESPACE = "kube-root-ca.crt"
"""The config map that a cluster adds to each new namespace, at a moment of its own."""


class Hook:
    """An HTTPS server that answers reviews by `judge(request) -> response without uid`."""

    def __init__(self, folder) -> None:
        made = issue(folder)
        self.bundle = base64.b64encode(made.authority.read_bytes()).decode()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(made.certificate, made.key)
        self.seen: list[Json] = []
        self.judge: Callable[[Json], Json] = lambda _: {"allowed": True}
        self._ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        assert self._ready.wait(HANG_S)

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_post("/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self.url = f"https://127.0.0.1:{runner.addresses[0][1]}/admit"
        self._ready.set()
        await self._stopping.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        review = await request.json()
        asked = review["request"]
        if asked.get("name") != OF_EACH_NAMESPACE:
            self.seen.append(asked)
        answer = self.judge(asked)
        body = {"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": {"uid": asked["uid"]} | answer}
        return web.json_response(body)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)


@pytest.fixture
def hook(tmp_path):
    server = Hook(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def install(http, hook, namespace, maps):
    """Install a webhook for the config maps of this test's namespace, and wait until it is asked."""
    installed = []

    def put(plural: str = "validatingwebhookconfigurations", **more: Any) -> str:
        name = f"hook-{uuid.uuid4().hex[:8]}.example.com"
        entry = {
            "name": name,
            "clientConfig": {"url": hook.url, "caBundle": hook.bundle},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["*"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 5,
        }
        kind = "ValidatingWebhookConfiguration" if plural.startswith("v") else "MutatingWebhookConfiguration"
        body = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": name},
            "webhooks": [entry | more],
        }
        answer = http.post(f"{CONFIGURATIONS}/{plural}", json=body)
        assert answer.status_code == 201, answer.text
        installed.append(f"{CONFIGURATIONS}/{plural}/{name}")
        if not more.get("clientConfig"):
            labels = {"metadata": {"name": "probe", "labels": {"guarded": "yes"}}}
            eventually(lambda: http.post(maps, params={"dryRun": "All"}, json=labels) is not None and bool(hook.seen))
            hook.seen.clear()
        return name

    yield put
    for path in installed:
        http.delete(path)


def patch(*steps: Json) -> Json:
    return {"allowed": True, "patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(steps).encode()).decode()}


def test_a_webhook_is_told_who_does_what(http, hook, install, maps, namespace):
    install()
    made = http.post(maps, json={"metadata": {"name": "a"}, "data": {"k": "1"}}).json()
    http.patch(f"{maps}/a", json={"data": {"k": "2"}}, headers=MERGE)
    http.delete(f"{maps}/a")
    first, second, third = hook.seen
    assert [one["operation"] for one in hook.seen] == ["CREATE", "UPDATE", "DELETE"]
    assert first["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert first["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert (first["name"], first["namespace"], first["dryRun"]) == ("a", namespace, False)
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    me = http.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json=review).json()["status"]["userInfo"]
    assert (first["userInfo"]["username"], first["userInfo"]["groups"]) == (me["username"], me["groups"])
    assert first["object"]["data"] == {"k": "1"}
    assert first.get("oldObject") is None
    assert (second["object"]["data"], second["oldObject"]["data"]) == ({"k": "2"}, {"k": "1"})
    assert second["oldObject"]["metadata"]["uid"] == made["metadata"]["uid"]
    assert (third.get("object"), third["oldObject"]["data"]) == (None, {"k": "2"})


@pytest.mark.parametrize(
    ("status", "code", "reason", "said"),
    [
        pytest.param({"message": "weights add up to 120"}, 400, None, ": weights add up to 120", id="a message alone"),
        pytest.param({"message": "no", "code": 422, "reason": "Invalid"}, 422, "Invalid", ": no", id="its own code and reason"),
        pytest.param(None, 400, None, " without explanation", id="nothing said"),
    ],
)
def test_a_refusal_reaches_the_client_in_the_webhooks_words(http, hook, install, maps, status, code, reason, said):
    name = install()
    hook.judge = lambda _: {"allowed": False} | ({"status": status} if status else {})
    answer = http.post(maps, json={"metadata": {"name": "a"}})
    body = answer.json()
    assert (answer.status_code, body.get("reason"), body["kind"]) == (code, reason, "Status")
    assert body["message"] == f'admission webhook "{name}" denied the request{said}'
    assert http.get(f"{maps}/a").status_code == 404


def test_a_deletion_can_be_refused(http, hook, install, maps):
    install()
    http.post(maps, json={"metadata": {"name": "a"}})
    hook.judge = lambda request: {"allowed": request["operation"] != "DELETE", "status": {"message": "in use", "code": 403}}
    assert http.delete(f"{maps}/a").status_code == 403
    assert http.get(f"{maps}/a").status_code == 200


def test_warnings_reach_the_client(http, hook, install, maps):
    install()
    hook.judge = lambda _: {"allowed": True, "warnings": ["think twice"]}
    answer = http.post(maps, json={"metadata": {"name": "a"}})
    assert answer.headers.get_list("Warning") == ['299 - "think twice"']


def test_a_mutating_webhook_changes_the_object(http, hook, install, maps):
    install("mutatingwebhookconfigurations")
    hook.judge = lambda _: patch({"op": "add", "path": "/data", "value": {"set": "by hook"}})
    obj = http.post(maps, json={"metadata": {"name": "a"}}).json()
    assert obj["data"] == {"set": "by hook"}


def test_a_validating_webhook_sees_what_a_mutating_one_made(http, hook, install, maps):
    install("mutatingwebhookconfigurations")
    hook.judge = lambda _: patch({"op": "add", "path": "/data", "value": {"set": "by hook"}})
    install()
    http.post(maps, json={"metadata": {"name": "a"}})
    assert hook.seen[-1]["object"]["data"] == {"set": "by hook"}


def test_a_dry_run_asks_too_and_says_so(http, hook, install, maps):
    install()
    http.post(maps, params={"dryRun": "All"}, json={"metadata": {"name": "a"}})
    assert [one["dryRun"] for one in hook.seen] == [True]


def test_rules_and_selectors_decide_who_is_asked(http, hook, install, maps, namespace):
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}
    install(rules=[rule], objectSelector={"matchLabels": {"guarded": "yes"}})
    http.post(maps, json={"metadata": {"name": "a"}})
    http.post(f"/api/v1/namespaces/{namespace}/secrets", json={"metadata": {"name": "a", "labels": {"guarded": "yes"}}})
    http.post(maps, json={"metadata": {"name": "b", "labels": {"guarded": "yes"}}})
    http.patch(f"{maps}/b", json={"data": {"k": "v"}}, headers=MERGE)
    assert [one["name"] for one in hook.seen] == ["b"]


def test_a_condition_spares_the_question(http, hook, install, maps):
    only = {"name": "only-marked", "expression": "has(object.metadata.labels) && 'guarded' in object.metadata.labels"}
    install(matchConditions=[only])
    http.post(maps, json={"metadata": {"name": "a"}})
    http.post(maps, json={"metadata": {"name": "b", "labels": {"guarded": "yes"}}})
    assert [one["name"] for one in hook.seen] == ["b"]


def test_a_webhook_that_cannot_be_reached_fails_the_write(http, hook, install, maps):
    name = install(clientConfig={"url": "https://127.0.0.1:1/admit", "caBundle": hook.bundle})
    eventually(lambda: http.post(maps, params={"dryRun": "All"}, json={"metadata": {"name": "a"}}).status_code == 500)
    body = refused(http.post(maps, json={"metadata": {"name": "a"}}), 500, "InternalError")
    assert body["message"].startswith(f'Internal error occurred: failed calling webhook "{name}": failed to call webhook: ')


def test_unless_its_failure_is_to_be_ignored(http, hook, install, maps):
    install(clientConfig={"url": "https://127.0.0.1:1/admit", "caBundle": hook.bundle}, failurePolicy="Ignore")
    assert http.post(maps, json={"metadata": {"name": "a"}}).status_code == 201


def test_a_webhook_with_a_strange_certificate_is_not_believed(http, hook, install, maps, tmp_path):
    (tmp_path / "other").mkdir()
    other = base64.b64encode(issue(tmp_path / "other").authority.read_bytes()).decode()
    install(clientConfig={"url": hook.url, "caBundle": other})
    eventually(lambda: http.post(maps, params={"dryRun": "All"}, json={"metadata": {"name": "a"}}).status_code == 500)
    assert hook.seen == []


def test_a_client_config_says_url_or_service_and_a_webhook_its_side_effects(http):
    entry = {"name": "a.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "clientConfig": {}}
    at = f"{CONFIGURATIONS}/validatingwebhookconfigurations"
    body = refused(http.post(at, json={"metadata": {"name": "x"}, "webhooks": [entry]}), 422, "Invalid")
    assert "exactly one of url or service is required" in body["message"]
    ready = entry | {"clientConfig": {"url": "https://a.example.com/x"}}
    body = refused(
        http.post(at, json={"metadata": {"name": "x"}, "webhooks": [ready | {"sideEffects": "Some"}]}), 422, "Invalid"
    )
    assert "webhooks[0].sideEffects" in body["message"]
