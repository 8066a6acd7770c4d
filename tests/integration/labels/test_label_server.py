"""The HTTP door of labels: a token, idempotent labels, errors that name the way out; nothing that comes in is a defect."""

import asyncio
import json
from urllib.parse import quote

import aiohttp
import pytest
import schemathesis
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lifecycle.governance.archive.record_log import RecordLog
from lifecycle.labels.counting import LabelCounter
from lifecycle.labels.desk import LabelDesk
from lifecycle.labels.errors import LabelsLost
from lifecycle.labels.events import EventFinder
from lifecycle.labels.label_log import LabelLog
from operators.backends.label_evidence.server import LabelServer
from operators.control.labels.intake import LabelIntake
from operators.control.labels.openapi import openapi
from operators.control.labels.server import LabelDoor, token_in
from operators.ports import BackendError, ServiceRef
from operators.rollout.spec import GateName
from tests.fakes.labelled import START_US, PredictionLog, record

pytestmark = pytest.mark.integration

TOKEN = "a-token-of-the-tests"
ALLOWED = {"authorization": f"Bearer {TOKEN}"}


class Door:
    """The door over a store of its own."""

    def __init__(self, folder) -> None:
        PredictionLog(folder / "audit").append(
            record(1, verdicts=["alert"], request_id="evt-1"), record(2, verdicts=["benign", "alert"])
        )
        self.log = LabelLog(folder / "labels")
        self.desk = LabelDesk(self.log, EventFinder(RecordLog(folder / "audit")), "http")
        self.token = folder / "token"
        self.token.write_text(f"{TOKEN}\n", encoding="utf-8")
        self.counter = LabelCounter(self.log, folder / "audit")
        self.drawn: list[tuple[object, ...]] = []

    def draw(self, *asked):
        self.drawn.append(asked)
        return {"model": asked[0], "events": []}

    async def __aenter__(self) -> "Door":
        self.intake = await LabelIntake(self.desk).__aenter__()
        door = LabelDoor(self.intake, self.log, self.counter, self.draw, token_in(self.token))
        self.client = await TestClient(TestServer(door.application())).__aenter__()
        return self

    async def __aexit__(self, *problem) -> None:
        await self.client.__aexit__(*problem)
        await self.intake.__aexit__(*problem)

    async def ask(self, method, path, body=None, headers=ALLOWED, **more):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        async with self.client.request(method, path, data=data, headers=headers, **more) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def door(tmp_path):
    async with Door(tmp_path) as made:
        yield made


LABEL = {"label_id": "t-1", "event": "evt-1", "verdict": "attack", "family": "dos", "analyst": "ada", "sureness": 0.9}


async def test_a_label_is_taken_repeated_and_corrected(door):
    status, body = await door.ask("POST", "/v1/labels", LABEL)
    assert (status, body["outcome"], body["label"]["event"], body["label"]["source"]) == (201, "given", "r-1", "http")
    assert (await door.ask("POST", "/v1/labels", LABEL))[0] == 200
    status, body = await door.ask(
        "POST", "/v1/labels", {"label_id": "t-2", "receipt": "r-1", "verdict": "benign", "analyst": "eve"}
    )
    assert (status, body["outcome"]) == (201, "corrected")
    status, body = await door.ask("GET", "/v1/labels/r-1")
    assert [one["verdict"] for one in body["history"]] == ["attack", "benign"]


@pytest.mark.parametrize("wrapped", [True, False])
async def test_of_several_labels_each_stands_for_itself(door, wrapped):
    several = [
        LABEL,
        {"event": "r-9", "verdict": "benign"},
        {"label_id": "x", "receipt": "r-2", "row": 1, "label": "benign", "analyst": "eve"},
        7,
    ]
    status, body = await door.ask("POST", "/v1/labels", {"labels": several} if wrapped else several)
    assert status == 200
    assert [one.get("outcome") or one["code"] for one in body["results"]] == ["given", "unknown_event", "given", "wrong_label"]
    assert set(door.log.current("flows")) == {"r-1", "r-2#1"}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        pytest.param({**LABEL, "verdict": "bad"}, 400, "verdict is 'bad'", id="another verdict"),
        pytest.param({**LABEL, "colour": "red"}, 400, "colour", id="a field that there is not"),
        pytest.param({k: v for k, v in LABEL.items() if k != "analyst"}, 400, "who gives the label", id="nobody says so"),
        pytest.param({k: v for k, v in LABEL.items() if k != "label_id"}, 400, "safe to send", id="no id"),
        pytest.param({**LABEL, "event": "r-2"}, 400, "r-2#0, r-2#1", id="which row"),
        pytest.param({**LABEL, "event": "r-77"}, 404, "no answer", id="no such answer"),
        pytest.param({**LABEL, "time": "2999-01-01T00:00:00Z"}, 400, "future", id="tomorrow's word"),
        pytest.param(b"{", 400, "is not a label", id="no JSON"),
        pytest.param(b"[" * 100_000, 400, "list of labels", id="nested without end"),
        pytest.param(b"\xff", 400, "is not a label", id="no text"),
        pytest.param(b"", 400, "is not a label", id="nothing"),
        pytest.param([LABEL] * 1001, 413, "at most 1,000", id="too many"),
        pytest.param(b" " * (5 << 20), 413, "fewer labels", id="too large"),
    ],
)
async def test_what_is_wrong_is_said(door, body, status, words):
    found, said = await door.ask("POST", "/v1/labels", body)
    assert (found, words in said["error"]) == (status, True), said
    assert not door.log.folder.exists() or door.log.read() == []


async def test_an_id_that_was_used_for_another_word_is_a_conflict(door):
    await door.ask("POST", "/v1/labels", LABEL)
    status, said = await door.ask("POST", "/v1/labels", {**LABEL, "verdict": "unsure", "family": None})
    assert (status, said["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}, {"authorization": "Bearer "}]
)
async def test_nobody_without_the_token_reads_or_writes(door, headers):
    for method, path in (
        ("POST", "/v1/labels"),
        ("GET", "/v1/labels/r-1"),
        ("GET", "/v1/queue?model=flows"),
        ("GET", "/nowhere"),
    ):
        status, said = await door.ask(method, path, headers=headers)
        assert (status, said["code"]) == (401, "unauthorized")
    assert (await door.ask("GET", "/healthz", headers={}))[0] == 200
    assert (await door.ask("GET", "/openapi.json", headers={}))[0] == 200


async def test_a_token_that_was_replaced_counts_at_once_and_one_that_is_gone_lets_nobody_in(door):
    door.token.write_text("another", encoding="utf-8")
    assert (await door.ask("GET", "/v1/labels/r-1"))[0] == 401
    assert (await door.ask("GET", "/v1/labels/r-1", headers={"authorization": "Bearer another"}))[0] == 404
    door.token.unlink()
    assert (await door.ask("GET", "/v1/labels/r-1", headers={"authorization": "Bearer "}))[0] == 401


async def test_many_clients_at_once_lose_nothing(door):
    several = [door.ask("POST", "/v1/labels", {**LABEL, "label_id": f"t-{n % 40}"}) for n in range(80)]
    found = sorted(status for status, _ in await asyncio.gather(*several))
    assert found == [200] * 40 + [201] * 40
    assert len(door.log.read()) == 40


async def test_a_full_disk_is_said_and_the_label_can_be_sent_again(door, monkeypatch):
    with monkeypatch.context() as patched:

        def full(labels):
            raise LabelsLost("the labels could not be kept (No space left on device); make room")

        patched.setattr(door.log, "give_all", full)
        status, said = await door.ask("POST", "/v1/labels", LABEL)
        assert (status, said["code"]) == (503, "not_kept")
    assert (await door.ask("POST", "/v1/labels", LABEL))[0] == 201


async def test_the_queue_is_shown_and_drawn(door):
    assert (await door.ask("GET", "/v1/queue?model=flows&budget=5"))[0] == 200
    assert (await door.ask("POST", "/v1/queue", {"model": "flows", "budget": 7, "seed": 3, "since": "1d"}))[0] == 200
    assert door.drawn == [("flows", 5, 0, "7d", False), ("flows", 7, 3, "1d", True)]
    for query in ("", "?model=flows&budget=0", "?model=flows&budget=x", "?model=flows&nonsense=1"):
        assert (await door.ask("GET", f"/v1/queue{query}"))[0] == 400


async def test_an_operator_reads_the_counts(door, tmp_path):
    await door.ask("POST", "/v1/labels", LABEL)
    await door.ask("POST", "/v1/labels", {**LABEL, "label_id": "t-2", "event": "r-2#1", "verdict": "benign", "family": None})
    async with aiohttp.ClientSession() as session:
        from datetime import UTC, datetime

        url, since = str(door.client.make_url("/")), datetime.fromtimestamp(START_US / 1e6, UTC)
        source = LabelServer(session, url, door.token)
        assert await source.counts(ServiceRef("soc", "ids", "flows"), since) == {
            "stable@sha256:aa": {GateName.PRECISION: (2, 1)}
        }
        other = tmp_path / "other"
        other.write_text("wrong", encoding="utf-8")
        with pytest.raises(BackendError, match=r"answers 401.*bearer token"):
            await LabelServer(session, url, other).counts(ServiceRef("soc", "ids", "flows"), since)
        with pytest.raises(BackendError, match="vedette label serve"):
            await LabelServer(session, "http://127.0.0.1:1", None).counts(ServiceRef("soc", "ids", "flows"), since)


def test_the_description_is_one(tmp_path):
    described = openapi("1")
    for schema in described["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    assert set(described["paths"]) == {"/v1/labels", "/v1/labels/{event}", "/v1/queue", "/v1/counts/{model}"}


TRIED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
NAMES = st.sampled_from([*LABEL, "labels", "time", "row"]) | st.text(max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)  # fmt: skip
BODIES = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()) | st.fixed_dictionaries(
    {name: st.just(value) | JSON for name, value in LABEL.items()}
).map(lambda value: json.dumps(value).encode())  # fmt: skip


@TRIED
@given(st.data())
def test_whatever_comes_in_is_answered_and_is_no_defect(tmp_path_factory, data):
    async def asked() -> None:
        async with Door(tmp_path_factory.mktemp("door")) as door:
            for _ in range(5):
                method = data.draw(st.sampled_from(["POST", "GET", "PUT", "DELETE"]))
                words = quote(data.draw(st.text(min_size=1, max_size=12)), safe="")
                path = data.draw(st.sampled_from(["/v1/labels", f"/v1/labels/{words}", f"/v1/counts/{words}?since_us={words}",
                                                  f"/v1/queue?model={words}&budget={words}", "/v1/queue", f"/{words}"]))  # fmt: skip
                status, said = await door.ask(method, path, data.draw(BODIES) if method in ("POST", "PUT") else None)
                assert status < 500, (method, path, said)
                assert status < 400 or set(said) == {"error", "code"}

    asyncio.run(asked())


SCHEMA = schemathesis.openapi.from_dict(openapi("1"))


@pytest.mark.parametrize(
    "operation", [one.ok() for one in SCHEMA.get_all_operations()], ids=lambda one: f"{one.method} {one.path}"
)
def test_every_answer_is_as_it_is_described(tmp_path_factory, operation):
    @settings(TRIED, max_examples=15)
    @given(operation.as_strategy())
    def asked(case) -> None:
        async def one() -> None:
            async with Door(tmp_path_factory.mktemp("door")) as door:
                body = None if isinstance(case.body, schemathesis.core.NotSet) else json.dumps(case.body).encode()
                path = case.path.format(
                    **{name: quote(str(value), safe="") for name, value in (case.path_parameters or {}).items()}
                )
                query = {name: str(value) for name, value in (case.query or {}).items()}
                status, said = await door.ask(case.method, path, body, params=query)
                answers = operation.definition.raw["responses"]
                assert str(status) in answers, (status, said)
                schema = {
                    **answers[str(status)]["content"]["application/json"]["schema"],
                    "components": openapi("1")["components"],
                }
                Draft202012Validator(schema).validate(said)

        asyncio.run(one())

    asked()
