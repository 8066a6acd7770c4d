"""Laws of the watch of what ModelServices are served by, on both API servers: what somebody else makes, changes or deletes is told,
statuses and our own writes are not, and whatever is in the way stops nothing."""

import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from operators.backends.kube import INFERENCE_SERVICES, RAY_SERVICES, Kind, Kube
from operators.backends.kube_access import access
from operators.handlers.watching.backend_watch import BackendWatch, OwnWrites
from operators.handlers.watching.work_queue import Backoff
from tests.contract.api_server.api_server_kind import MERGE, eventually, uninstall
from tests.fakes.apiserver import Handle
from tests.fakes.operator.serving_pods import FOREIGN_CRDS, open_crd, ray_service
from tests.waiting import until_so

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SOON = Backoff(0.02, 0.02, 0.0, random.Random(1))


@pytest.fixture(scope="module")
def http(api_server: Handle) -> Iterator[httpx.Client]:
    with api_server.http() as found:
        for body in FOREIGN_CRDS:
            found.post(DEFINITIONS, json=body)
        eventually(lambda: all(found.get(k.path(None)).status_code == 200 for k in (RAY_SERVICES, INFERENCE_SERVICES)))
        yield found


@asynccontextmanager
async def watched(
    server: Handle, namespace: str, want: Kind = RAY_SERVICES, token: str | None = None, damaged: str = ""
) -> AsyncIterator[Any]:
    """What was told, in order, by a watch; the client whose writes are the operator's own; the statuses of all answers.

    damaged: name of an object; whoever is told of it fails."""
    answers: list[int] = []
    told: list[tuple[Kind, str]] = []
    own = OwnWrites()

    async def changed(kind: Kind, key: tuple[str, str]) -> None:
        told.append((kind, key[1]))
        if key[1] == damaged:
            raise AttributeError("'list' object has no attribute 'get'")

    where = server.kubeconfig() if token is None else server.kubeconfig(token, f"watcher-{namespace}", namespace)
    async with Kube(
        access(where), manager="vedette-operator", on_request=lambda *a: answers.append(a[2]), on_written=own.note
    ) as kube:
        watch = BackendWatch(kube, (namespace,), own, changed, again_s=0.1, backoff=SOON)
        watch.want(want)
        watch.start()
        try:
            yield told, kube, answers
        finally:
            await watch.stop()


async def until(holds: Callable[[], object]) -> None:
    await until_so(holds)


async def began(caplog: pytest.LogCaptureFixture, kind: Kind, namespace: str) -> None:
    await until(lambda: f"{kind.plural} of {namespace} are watched" in caplog.text)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "vedette.operator")
    return caplog


def bodies(namespace: str) -> Iterator[tuple[Kind, dict[str, Any]]]:
    yield RAY_SERVICES, ray_service(namespace, "one")
    yield (
        INFERENCE_SERVICES,
        {
            "apiVersion": INFERENCE_SERVICES.api_version,
            "kind": "InferenceService",
            "metadata": {"name": "one"},
            "spec": {"serveConfigV2": ""},
        },
    )


@pytest.mark.parametrize("index", [0, 1], ids=["RayService", "InferenceService"])
async def test_what_somebody_else_makes_changes_and_deletes_is_told_and_a_status_is_not(
    api_server: Handle, http: httpx.Client, namespace: str, log: pytest.LogCaptureFixture, index: int
):
    kind, body = list(bodies(namespace))[index]
    at = kind.path(namespace)
    http.post(at, json={**body, "metadata": {"name": "before"}}).raise_for_status()
    async with watched(api_server, namespace, kind) as (told, _, _):
        await began(log, kind, namespace)
        http.post(at, json=body).raise_for_status()
        await until(lambda: told == [(kind, "one")])
        for number in range(20):
            status = {"status": {"numServeEndpoints": number}}
            http.patch(f"{at}/one/status", json=status, headers=MERGE).raise_for_status()
        http.patch(f"{at}/one", json={"metadata": {"labels": {"a": "b"}}}, headers=MERGE).raise_for_status()
        http.patch(f"{at}/one", json={"spec": {"serveConfigV2": "applications: []"}}, headers=MERGE).raise_for_status()
        await until(lambda: len(told) >= 2)
        http.delete(f"{at}/one").raise_for_status()
        await until(lambda: len(told) >= 3)
    assert told == [(kind, "one")] * 3, "made, changed, deleted; neither its statuses nor its labels, nor what was there before"


async def test_our_own_write_is_not_told_and_what_overwrites_it_is(
    api_server: Handle, http: httpx.Client, namespace: str, log: pytest.LogCaptureFixture
):
    at = RAY_SERVICES.path(namespace)
    for name in ("ours", "other"):
        http.post(at, json=ray_service(namespace, name)).raise_for_status()
    async with watched(api_server, namespace) as (told, kube, _):
        await began(log, RAY_SERVICES, namespace)
        await kube.patch(RAY_SERVICES, namespace, "ours", {"spec": {"serveConfigV2": "applications: []"}})
        http.patch(f"{at}/other", json={"spec": {"serveConfigV2": ""}}, headers=MERGE).raise_for_status()
        await until(lambda: told)
        assert told == [(RAY_SERVICES, "other")], "the write before it was ours"
        http.patch(f"{at}/ours", json={"spec": {"serveConfigV2": ""}}, headers=MERGE).raise_for_status()
        await until(lambda: len(told) == 2)
    assert told[1] == (RAY_SERVICES, "ours")


async def test_an_object_whose_change_cannot_be_passed_on_hides_no_other(
    api_server: Handle, http: httpx.Client, namespace: str, log: pytest.LogCaptureFixture
):
    at = RAY_SERVICES.path(namespace)
    async with watched(api_server, namespace, damaged="damaged") as (told, _, _):
        await began(log, RAY_SERVICES, namespace)
        http.post(at, json=ray_service(namespace, "damaged")).raise_for_status()
        await until(lambda: told == [(RAY_SERVICES, "damaged")])
        http.post(at, json=ray_service(namespace, "one")).raise_for_status()
        await until(lambda: len(told) == 2)
    assert told[1] == (RAY_SERVICES, "one")
    assert f"RayService {namespace}/damaged caused no look" in log.text


async def test_only_metadata_is_read(api_server: Handle, http: httpx.Client, namespace: str):
    http.post(RAY_SERVICES.path(namespace), json=ray_service(namespace, "one")).raise_for_status()
    async with Kube(access(api_server.kubeconfig()), manager="test") as kube:
        (listed,), version = await kube.list_all(RAY_SERVICES, namespace, only_metadata=True)
        assert listed["metadata"]["generation"] == 1
        assert "spec" not in listed
        async with kube.watching(RAY_SERVICES, namespace, version) as events:
            body = ray_service(namespace, "two")
            body["metadata"]["annotations"] = {"note": "x" * 200_000}  # longer than a line that aiohttp's readline takes
            http.post(RAY_SERVICES.path(namespace), json=body).raise_for_status()
            event, seen = await anext(events)
    assert (event, seen["metadata"]["name"], "spec" in seen) == ("ADDED", "two", False)


async def test_a_kind_that_is_not_served_yet_is_watched_once_it_is(
    api_server: Handle, http: httpx.Client, namespace: str, log: pytest.LogCaptureFixture
):
    group = f"{namespace}.example.com"
    kind, crd = Kind(f"{group}/v1", "Late", "lates"), open_crd(group, "v1", "Late", "lates")
    body = {"apiVersion": kind.api_version, "kind": "Late", "metadata": {"name": "one"}, "spec": {}}
    async with watched(api_server, namespace, kind) as (told, _, _):
        await until(lambda: "does not serve Late" in log.text)
        http.post(DEFINITIONS, json=crd).raise_for_status()
        eventually(lambda: http.post(kind.path(namespace), json=body).status_code == 201)
        await until(lambda: (kind, "one") in told)
        await began(log, kind, namespace)
        uninstall(http, crd)
        await until(lambda: told.count((kind, "one")) >= 2)
    assert log.text.count("does not serve Late") <= 2, "once before it came, once after it went"


def _rights(http: httpx.Client, namespace: str, verbs: Mapping[str, list[str]]) -> str:
    """A service account with these verbs by plural; its token."""
    api, rbac = f"/api/v1/namespaces/{namespace}", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    http.post(f"{api}/serviceaccounts", json={"metadata": {"name": "watcher"}})
    rules = [{"apiGroups": ["ray.io"], "resources": [plural], "verbs": of} for plural, of in verbs.items()]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "watcher"}, "rules": rules}
    http.post(f"{rbac}/roles", json=role).raise_for_status()
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "watcher"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "watcher"},
        "subjects": [{"kind": "ServiceAccount", "name": "watcher", "namespace": namespace}],
    }
    http.post(f"{rbac}/rolebindings", json=binding).raise_for_status()
    made = http.post(f"{api}/serviceaccounts/watcher/token", json={"spec": {}})
    made.raise_for_status()
    token: str = made.json()["status"]["token"]
    return token


@pytest.mark.parametrize("first", [["get"], ["get", "list"]], ids=["may not list", "may not watch"])
async def test_a_right_that_is_missing_is_said_once_and_used_once_it_is_given(
    api_server: Handle, http: httpx.Client, namespace: str, log: pytest.LogCaptureFixture, first: list[str]
):
    token = _rights(http, namespace, {"rayservices": first})
    async with watched(api_server, namespace, token=token) as (told, _, answers):
        await until(lambda: answers.count(403) >= 3)
        assert log.text.count("are not watched") == 1, log.text
        assert "forbidden" in log.text
        role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/watcher"
        rules = [{"apiGroups": ["ray.io"], "resources": ["rayservices"], "verbs": ["get", "list", "watch"]}]
        http.patch(role, json={"rules": rules}, headers=MERGE).raise_for_status()
        await began(log, RAY_SERVICES, namespace)
        http.post(RAY_SERVICES.path(namespace), json=ray_service(namespace, "one")).raise_for_status()
        await until(lambda: told == [(RAY_SERVICES, "one")])
    assert log.text.count("are not watched") == 1
