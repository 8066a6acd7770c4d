"""Laws of lists and watches: selectors, pages, versions, what a watch tells and when its past is gone."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest

from tests.contract.api_server.api_server_kind import MERGE, definition, eventually, install, new_group, refused, uninstall
from tests.fakes.apiserver import Handle
from tests.waiting import HANG_S

Json = dict[str, Any]


def made(http, at, name, labels=None, **data: str) -> Json:
    answer = http.post(at, json={"metadata": {"name": name, "labels": labels or {}}, "data": data})
    assert answer.status_code == 201
    return answer.json()


def names(body: Json) -> list[str]:
    return [item["metadata"]["name"] for item in body["items"]]


class Watch:
    """A watch read in a thread of its own."""

    def __init__(self, http, path: str, **query: str) -> None:
        self.events: list[Json] = []
        self.ended = threading.Event()
        self._http, self._path, self._socket = http, path, None
        self._query = {"watch": "1", "timeoutSeconds": f"{HANG_S:.0f}"} | query
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            with self._http.stream("GET", self._path, params=self._query) as answer:
                self._socket = answer.extensions["network_stream"].get_extra_info("socket")
                assert answer.status_code == 200
                for line in answer.iter_lines():
                    self.events.append(json.loads(line))
        except httpx.TransportError:
            pass  # the server went, or the test did
        finally:
            self.ended.set()

    def end(self) -> None:
        """Break the connection; the reading thread closes it, so that no other connection meets its file descriptor."""
        if self._socket is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        self._thread.join(HANG_S)

    def told(self, *, bookmarks: bool = False) -> list[tuple[str, str]]:
        """(type, name) of what was told so far."""
        seen = [event for event in self.events if bookmarks or event["type"] != "BOOKMARK"]
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in seen]


@contextmanager
def watching(api: Handle, path: str, **query: str) -> Iterator[Watch]:
    with api.http() as client:
        watch = Watch(client, path, **query)
        yield watch
        watch.end()


# lists


def test_a_list_is_ordered_by_name_and_has_a_version(http, maps):
    for name in ("b", "a", "c"):
        last = made(http, maps, name)
    body = http.get(maps).json()
    assert (body["kind"], body["apiVersion"]) == ("ConfigMapList", "v1")
    assert [name for name in names(body) if len(name) == 1] == ["a", "b", "c"]
    assert int(body["metadata"]["resourceVersion"]) >= int(last["metadata"]["resourceVersion"])


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        pytest.param("app=x", ["a", "b"], id="equal"),
        pytest.param("app==x,tier!=front", ["b"], id="both must hold"),
        pytest.param("app in (x, y)", ["a", "b", "c"], id="one of"),
        pytest.param("app notin (x)", ["c", "d"], id="none of, also where the label is missing"),
        pytest.param("tier", ["a"], id="exists"),
        pytest.param("!tier,app", ["b", "c"], id="exists not"),
    ],
)
def test_labels_select(http, maps, selector, found):
    for name, labels in (("a", {"app": "x", "tier": "front"}), ("b", {"app": "x"}), ("c", {"app": "y"}), ("d", {})):
        made(http, maps, name, labels)
    there = names(http.get(maps, params={"labelSelector": selector, "fieldSelector": "metadata.name!=kube-root-ca.crt"}).json())
    assert there == found


def test_fields_select_where_the_kind_lets_them(http, maps):
    made(http, maps, "a")
    made(http, maps, "b")
    assert names(http.get(maps, params={"fieldSelector": "metadata.name=b"}).json()) == ["b"]
    refused(http.get(maps, params={"fieldSelector": "data.k=1"}), 400, "BadRequest")
    refused(http.get(maps, params={"labelSelector": "a b"}), 400, "BadRequest")


def test_a_list_in_pages_is_one_moment(http, maps):
    for number in range(5):
        made(http, maps, f"n{number}")
    selected = {"fieldSelector": "metadata.name!=kube-root-ca.crt"}
    first = http.get(maps, params={"limit": 2, **selected}).json()
    made(http, maps, "n00")
    http.delete(f"{maps}/n4")
    second = http.get(maps, params={"limit": 2, "continue": first["metadata"]["continue"], **selected}).json()
    third = http.get(maps, params={"limit": 2, "continue": second["metadata"]["continue"], **selected}).json()
    assert [*names(first), *names(second), *names(third)] == ["n0", "n1", "n2", "n3", "n4"]
    assert first["metadata"]["resourceVersion"] == third["metadata"]["resourceVersion"]
    assert "continue" not in third["metadata"]


def test_a_list_over_all_namespaces_has_each(http, api_server, maps, namespace):
    made(http, maps, "a", {"only": namespace})
    found = http.get("/api/v1/configmaps", params={"labelSelector": f"only={namespace}"}).json()
    assert [item["metadata"]["namespace"] for item in found["items"]] == [namespace]


# watches


def test_a_watch_tells_every_change_after_its_version(api_server, http, maps):
    made(http, maps, "before")
    version = http.get(maps).json()["metadata"]["resourceVersion"]
    with watching(api_server, maps, resourceVersion=version) as watch:
        first = made(http, maps, "a")
        http.patch(f"{maps}/a", json={"data": {"k": "1"}}, headers=MERGE)
        http.delete(f"{maps}/a")
        eventually(lambda: len([one for one in watch.told() if one[1] == "a"]) == 3)
        mine = [event for event in watch.events if event["object"]["metadata"]["name"] == "a"]
        assert [event["type"] for event in mine] == ["ADDED", "MODIFIED", "DELETED"]
        assert mine[0]["object"] == first
        versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in mine]
        assert versions == sorted(set(versions)), "a deletion has a version of its own"
        assert ("ADDED", "before") not in watch.told()


def test_a_watch_resumes_where_another_stopped(api_server, http, maps):
    start = made(http, maps, "a")["metadata"]["resourceVersion"]
    made(http, maps, "b")
    http.delete(f"{maps}/a")
    with watching(api_server, maps, resourceVersion=start) as watch:
        eventually(lambda: watch.told() == [("ADDED", "b"), ("DELETED", "a")])


def test_a_watch_without_a_version_begins_with_what_is_there(api_server, http, maps):
    made(http, maps, "a")
    made(http, maps, "b")
    with watching(api_server, maps) as watch:
        eventually(lambda: {("ADDED", "a"), ("ADDED", "b")} <= set(watch.told()))
        made(http, maps, "c")
        eventually(lambda: ("ADDED", "c") in watch.told())


def test_an_object_that_leaves_the_selection_is_deleted_for_that_watch(api_server, http, maps):
    version = http.get(maps).json()["metadata"]["resourceVersion"]
    with watching(api_server, maps, resourceVersion=version, labelSelector="app=x") as watch:
        made(http, maps, "a", {"app": "y"})
        for label in ("x", "x2", "x"):
            http.patch(f"{maps}/a", json={"metadata": {"labels": {"app": label}}}, headers=MERGE)
        eventually(lambda: watch.told() == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a")])


def test_one_object_can_be_watched_by_name(api_server, http, maps):
    version = http.get(maps).json()["metadata"]["resourceVersion"]
    with watching(api_server, maps, resourceVersion=version, fieldSelector="metadata.name=b") as watch:
        made(http, maps, "a")
        made(http, maps, "b")
        eventually(lambda: watch.told() == [("ADDED", "b")])


def test_a_watch_ends_at_its_timeout(api_server, http, maps):
    with watching(api_server, maps, timeoutSeconds="1") as watch:
        assert watch.ended.wait(HANG_S)


def test_a_watch_that_asks_for_a_list_is_told_when_it_had_all(api_server, http, maps):
    made(http, maps, "a")
    asked = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    with watching(api_server, maps, **asked) as watch:
        eventually(lambda: any(event["type"] == "BOOKMARK" for event in watch.events))
        mark = next(event for event in watch.events if event["type"] == "BOOKMARK")["object"]
        assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert (mark["kind"], mark["metadata"]["resourceVersion"].isdigit()) == ("ConfigMap", True)
        assert ("ADDED", "a") in watch.told()


def test_a_version_from_before_the_kind_was_known_is_gone(api_server, http, namespace):
    body = definition(new_group())
    at = f"{install(http, body)}/namespaces/{namespace}/widgets"
    with watching(api_server, at, resourceVersion="1") as watch:
        eventually(lambda: bool(watch.events))
        assert watch.events[0]["type"] == "ERROR"
        status = watch.events[0]["object"]
        assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
        assert "too old resource version" in status["message"]
        assert watch.ended.wait(HANG_S)
    uninstall(http, body)


def test_a_version_of_the_future_is_not_answered_as_if_it_were_now(http, maps):
    version = int(http.get(maps).json()["metadata"]["resourceVersion"])
    answer = http.get(maps, params={"resourceVersion": str(version + 100000), "resourceVersionMatch": "NotOlderThan"})
    assert answer.status_code == 504
    assert answer.json()["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


def test_status_changes_are_told_too(api_server, http, namespace):
    body = definition(new_group())
    at = f"{install(http, body)}/namespaces/{namespace}/widgets"
    kind = {"apiVersion": f"{body['spec']['group']}/v1", "kind": "Widget"}
    version = http.post(at, json=kind | {"metadata": {"name": "w"}, "spec": {"model": "m"}}).json()["metadata"][
        "resourceVersion"
    ]
    with watching(api_server, at, resourceVersion=version) as watch:
        http.patch(f"{at}/w/status", json={"status": {"phase": "Ready"}}, headers=MERGE)
        http.patch(f"{at}/w/status", json={"status": {"phase": "Ready"}}, headers=MERGE)
        http.patch(f"{at}/w", json={"spec": {"low": 1}}, headers=MERGE)
        eventually(lambda: watch.told() == [("MODIFIED", "w")] * 2)
        assert [event["object"]["metadata"]["generation"] for event in watch.events] == [1, 2]
    uninstall(http, body)
