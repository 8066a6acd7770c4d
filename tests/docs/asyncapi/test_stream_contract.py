"""The public contract of streams: the AsyncAPI file is made of the code, valid, and true of the messages that are written."""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from lifecycle.labels.requests import LabelRequest, decode_request
from operators.cli.stream import asyncapi
from serving.models.manifest import FieldSpec, Manifest
from serving.risk.assess import Risk, RiskPart
from serving.risk.entity_record import RiskChange
from serving.risk.json_form import risk_as_record
from serving.risk.signal import PendingCheck, RiskSignal
from serving.stream.codecs.framing import CONFLUENT_HEADER, SCHEMA_ID_HEADER
from serving.stream.contract import (
    ID_HEADER,
    REASON_HEADER,
    STATE_HEADER,
    TRACE_HEADER,
    AlertMessage,
    InvestigateMessage,
    VerdictMessage,
)
from serving.stream.settings import StreamSettings
from tests.docs.pages import ROOT
from tests.docs.tables import WHOLE, stream_defaults

FILE = "docs/reference/streams.asyncapi.yaml"
PAGE = (ROOT / "docs/reference/streams.md").read_text(encoding="utf-8")


@cache
def described() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / FILE).read_text(encoding="utf-8"))
    return found


def judge(name: str, value: object) -> None:
    """Raises ValidationError where a value does not fit a schema of the file."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": described()["components"]}
    jsonschema.Draft202012Validator(schema).validate(value)


@pytest.mark.parametrize("page", WHOLE)
def test_the_page_is_what_the_code_says(page):
    assert (ROOT / page).read_text(encoding="utf-8") == WHOLE[page](), f"run: .venv/bin/python -m tests.docs.tables ({page})"


@pytest.mark.heavy
def test_it_is_valid_asyncapi():
    published = json.loads(gzip.decompress((Path(__file__).parent / "schema-3.0.0.json.gz").read_bytes()))
    jsonschema.Draft7Validator(published).validate(described())


def test_it_refers_to_nothing_that_is_not_there():
    def refs(node: Any) -> list[str]:
        if isinstance(node, dict):
            return [node["$ref"]] if "$ref" in node else [ref for value in node.values() for ref in refs(value)]
        return [ref for value in node for ref in refs(value)] if isinstance(node, list) else []

    for ref in refs(described()):
        place: Any = described()
        for step in ref.removeprefix("#/").split("/"):
            place = place[step]


@pytest.mark.parametrize("name", ["Verdict", "Alert", "Investigate", "Label", "Event"])
def test_examples_fit_their_schemas_and_types(name):
    message = described()["components"]["messages"][name]
    (example,) = message["examples"]
    judge(message["payload"]["$ref"].rpartition("/")[2], example["payload"])
    kinds = {"Verdict": VerdictMessage, "Alert": AlertMessage, "Investigate": InvestigateMessage, "Label": LabelRequest}
    if name in kinds:
        assert msgspec.to_builtins(msgspec.convert(example["payload"], kinds[name])).items() >= example["payload"].items()


@pytest.mark.parametrize("kind", [VerdictMessage, AlertMessage, InvestigateMessage, LabelRequest], ids=lambda k: k.__name__)
def test_every_field_of_a_message_has_words(kind):
    exempt = {"entity", "verdict"} if kind is VerdictMessage else set()
    assert {f.name for f in msgspec.structs.fields(kind)} - exempt <= set(asyncapi.field_words(kind)) | exempt


def test_every_topic_and_header_is_on_the_page():
    topics = [channel["address"] for channel in described()["channels"].values()]
    wanted = [*topics, ID_HEADER, TRACE_HEADER, STATE_HEADER, REASON_HEADER, SCHEMA_ID_HEADER, CONFLUENT_HEADER]
    assert not [word for word in wanted if f"`{word}`" not in PAGE]


def test_the_topics_are_those_that_are_set():
    settings = StreamSettings(events="a", verdicts="b", alerts="c", dead_letters="d", investigate="f", risks="")
    channels = asyncapi.contract(settings, labels="e")["channels"]
    assert [channel["address"] for channel in channels.values()] == ["a", "b", "c", "d", "e", "f"]


def test_defaults_do_not_depend_on_variables(monkeypatch):
    monkeypatch.setenv("VEDETTE_STREAM_EVENTS", "other")
    assert stream_defaults().events == "vedette.events"


def test_the_labels_of_the_page_are_labels():
    lines = [line for line in PAGE.splitlines() if line.startswith('{"') and '"analyst"' in line]
    assert [decode_request(line.encode()).name for line in lines] == ["01J9Z5T1T8Q3V6#17", "vedette.events/3/1829"]
    for line in lines:
        judge("LabelRequest", json.loads(line))


def manifest(*keys: tuple[str, str], fields: tuple[tuple[str, str], ...], time: str | None) -> Manifest:
    return Manifest.model_construct(
        name="m",
        entity_keys=tuple(FieldSpec(name=n, datatype=d) for n, d in keys),
        request_fields=tuple(FieldSpec(name=n, datatype=d, description=f"words of {n}") for n, d in fields),
        event_time_field=time,
    )


def test_the_events_of_a_model_have_its_columns():
    of_model = manifest(("host", "BYTES"), fields=(("bytes", "INT64"), ("share", "FP64"), ("seen", "BOOL")), time="event_time")
    schema = asyncapi.event_schema(of_model)
    good = {"host": "a", "bytes": 5, "share": 0.5, "seen": True, "event_time": 1, "event_id": "x", "more": []}
    jsonschema.validate(good, schema)
    for name in ("host", "bytes", "share", "seen"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({key: value for key, value in good.items() if key != name}, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**good, name: []}, schema)
    assert schema["properties"]["bytes"] == {"type": "integer", "description": "words of bytes"}


def test_a_risk_fits_its_schema():
    signal = RiskSignal(
        entity="a", kind="realtime", name="flows", probability=0.9, at_us=5, id="e/0/1", receipt="r", row=3, reasons=("x",)
    )
    check = PendingCheck(entity="a", id="e/0/1", name="flows", asked_us=5, due_us=6)
    change = RiskChange(at_us=5, before=0.1, after=0.5, because="flows", late_s=1.5)
    risk = Risk(
        "a", 5, 0.5, "high", 0.01, (RiskPart(signal, 1.0, 0.5),), ("batch",), (check,), (check,), (change,), "sha256:aa"
    )
    record = risk_as_record(risk)
    judge("Risk", record)
    assert set(record) == set(described()["components"]["schemas"]["Risk"]["properties"])
    with pytest.raises(jsonschema.ValidationError):
        judge("Risk", {**record, "risk": 2})
