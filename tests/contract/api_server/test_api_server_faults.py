"""What a test can order of the fake alone: errors, lost answers, broken watches, a forgotten past, a log."""

import httpx
import pytest

from tests.fakes.apiserver import ApiServer, User
from tests.fakes.apiserver.fixtures import fake_api
from tests.waiting import until

MAPS = "/api/v1/namespaces/default/configmaps"
__all__ = ["fake_api"]


@pytest.fixture
def http(fake_api: ApiServer):
    with fake_api.http() as client:
        yield client


def test_an_ordered_error_meets_the_calls_it_names_and_no_more(fake_api, http):
    fault = fake_api.faults.order(verb="create", plural="configmaps", status=503, times=2)
    codes = [http.post(MAPS, json={"metadata": {"name": f"n{number}"}}).status_code for number in range(3)]
    assert (codes, fault.met) == ([503, 503, 201], 2)
    assert [item["metadata"]["name"] for item in http.get(MAPS).json()["items"]] == ["n2"]


def test_an_answer_can_be_lost_after_the_act(fake_api, http):
    fake_api.faults.order(verb="create", after=True)
    with pytest.raises(httpx.TransportError):
        http.post(MAPS, json={"metadata": {"name": "a"}})
    assert http.get(f"{MAPS}/a").status_code == 200
    fake_api.faults.order(verb="create", after=True, status=504)
    assert http.post(MAPS, json={"metadata": {"name": "b"}}).status_code == 504
    assert http.get(f"{MAPS}/b").status_code == 200


def test_watches_can_be_broken(fake_api, http):
    with http.stream("GET", MAPS, params={"watch": "1", "timeoutSeconds": "30"}) as answer:
        assert answer.status_code == 200
        until(lambda: fake_api.faults.drop_watches("configmaps"))
        assert list(answer.iter_lines()) == []


def test_the_past_can_be_forgotten(fake_api, http):
    old = http.post(MAPS, json={"metadata": {"name": "a"}}).json()["metadata"]["resourceVersion"]
    page = http.get("/api/v1/namespaces", params={"limit": 1}).json()["metadata"]["continue"]
    fake_api.faults.forget_history()
    event = http.get(MAPS, params={"watch": "1", "resourceVersion": old}).json()
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    assert http.get("/api/v1/namespaces", params={"limit": 1, "continue": page}).status_code == 410
    now = http.get(MAPS).json()["metadata"]["resourceVersion"]
    with http.stream("GET", MAPS, params={"watch": "1", "resourceVersion": now, "timeoutSeconds": "1"}) as answer:
        assert list(answer.iter_lines()) == [], "a watch from now on goes on"


def test_every_call_is_in_the_log_with_who_and_what(fake_api):
    token = fake_api.access.issue(User("bob", ("system:masters", "system:authenticated")))
    with fake_api.http(token) as http:
        http.post(MAPS, json={"metadata": {"name": "a"}})
        http.get(f"{MAPS}/a")
    made, read = fake_api.log[-2:]
    assert (made.user, made.verb, made.plural, made.namespace, made.code, made.is_write) == (
        "bob",
        "create",
        "configmaps",
        "default",
        201,
        True,
    )
    assert (read.verb, read.name, read.is_write) == ("get", "a", False)
