"""The forms of an alert: what each says, and that no value breaks one."""

import base64
import hashlib
import hmac
import ipaddress
import json
from dataclasses import replace
from datetime import datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.sinks.alert import FoldedAlerts
from serving.sinks.forms import signature
from serving.sinks.forms.bulk import bulk_item
from serving.sinks.forms.cef import cef
from serving.sinks.forms.ecs import ecs
from serving.sinks.forms.example import example
from serving.sinks.forms.ocsf import ocsf
from serving.sinks.forms.options import FormOptions, observe
from serving.sinks.forms.plain import CUT, plain
from serving.sinks.forms.splunk import splunk
from serving.sinks.forms.syslog import frame, syslog
from serving.sinks.text import encode_json
from tests.fakes.sinks.alerts import an_alert
from tests.fakes.sinks.cef_parser import read_cef, read_syslog
from tests.laws import examples

OPTIONS = FormOptions(version="0.1.0", hostname="collector-1")
FOLDED = FoldedAlerts(
    kind="throttled",
    count=37,
    first_time="2026-01-01T00:00:00Z",
    last_time="2026-01-01T00:01:00Z",
    ids=("a", "b"),
    entities=("host=h",),
)
FORMS = {"ocsf": ocsf, "ecs": ecs, "plain": plain}


@pytest.fixture(scope="module")
def detection_finding():
    """Validates against the published schema of the class."""
    schemas = pytest.importorskip("ocsf_json_schema", reason="the published OCSF schemas are not installed (ocsf-json-schema)")
    import jsonschema_rs

    return jsonschema_rs.validator_for(
        schemas.OcsfJsonSchemaEmbedded(schemas.get_ocsf_schema("1.8.0")).get_class_schema(class_name="detection_finding")
    )


def test_a_cef_message_has_the_seven_values_of_the_header_and_the_keys_of_the_guide():
    head, found = read_cef(cef(example(), OPTIONS))
    assert head == [
        "0",
        "Vedette",
        "Vedette",
        "0.1.0",
        "b0f1b5f9-2e0e-4c9a-9d0c-6a7d6f1f0c11",
        "Network flows of infected hosts",
        "8",
    ]
    assert (found["src"], found["dst"], found["proto"]) == ("192.0.2.165", "198.51.100.69", "ICMP")
    assert (found["cs6Label"], found["cs6"]) == ("alertId", "vedette.events/3/1829#flows")
    assert len(found["externalId"]) <= 40


@pytest.mark.parametrize(
    ("title", "in_header", "in_extension"),
    [
        pytest.param("a|b", "a\\|b", "a|b", id="a bar is escaped in the header only"),
        pytest.param("a=b", "a=b", "a\\=b", id="an equals sign is escaped in the extension only"),
        pytest.param("a\\b", "a\\\\b", "a\\\\b", id="a backslash is escaped in both"),
        pytest.param("a\nb\r", "a b", "a\\nb\\r", id="a line break is a space in the header and a letter in the extension"),
        pytest.param("a\0b", "a b", "a\ufffdb", id="NUL is replaced"),
        pytest.param("a\ud800b", "a\ufffdb", "a\ufffdb", id="half a surrogate pair is replaced"),
    ],
)
def test_cef_escapes(title, in_header, in_extension):
    text = cef(an_alert(title=title), OPTIONS)
    assert text.split("|8|")[0].endswith(f"|{in_header}")
    assert text.endswith(f"msg={in_extension}")


def test_the_priority_of_a_syslog_message_is_facility_and_severity():
    for severity, number in {"critical": 2, "high": 3, "medium": 4, "low": 5, "informational": 6}.items():
        assert syslog(an_alert(severity=severity), "x", replace(OPTIONS, facility=16)).startswith(b"<%d>1 " % (16 * 8 + number))


@pytest.mark.parametrize(
    ("text", "has_bom", "expected"),
    [
        pytest.param("plain", True, b" plain", id="a text in ASCII has no BOM"),
        pytest.param("größe", True, b" \xef\xbb\xbf" + "größe".encode(), id="other texts begin with the BOM"),
        pytest.param("größe", False, b" " + "größe".encode(), id="unless the receiver trips over it"),
    ],
)
def test_syslog_says_that_a_text_is_utf_8(text, has_bom, expected):
    assert syslog(example(), text, replace(OPTIONS, has_bom=has_bom)).endswith(b"]" + expected)


def test_a_frame_counts_bytes_not_characters():
    assert frame("ö".encode()) == b"2 " + "ö".encode()


def test_the_ecs_document_has_the_fields_that_siem_rules_look_for():
    document = ecs(example(), OPTIONS)
    assert document["event"]["kind"] == "alert"
    assert document["threat"]["technique"] == {"id": ["T1498"], "subtechnique": {"id": ["T1498.001"]}}
    assert document["source"] == {"ip": "192.0.2.165"}
    assert document["related"]["ip"] == ["192.0.2.165", "198.51.100.69"]
    assert document["@timestamp"] == "2011-08-18T13:52:30.000000Z"


ECS_FIELDS = {
    "date": ["@timestamp", "event.created", "event.start", "event.end"],
    "ip": ["source.ip", "destination.ip", "related.ip"],
    "long": ["event.severity", "source.port", "destination.port"],
    "float": ["event.risk_score"],
    "keyword": [
        "ecs.version", "message", "event.kind", "event.category", "event.type", "event.id", "event.module", "event.dataset",
        "event.provider", "event.original", "rule.name", "rule.id", "rule.ruleset", "rule.version", "observer.vendor",
        "observer.product", "observer.type", "observer.version", "tags", "threat.framework", "threat.technique.id",
        "threat.technique.subtechnique.id", "trace.id", "source.domain", "destination.domain", "network.transport", "user.name",
        "host.name", "related.user", "related.hosts",
    ],
}  # fmt: skip
"""Fields and types of ECS 8.17.0, from its generated/csv/fields.csv."""
ECS_TYPES = {
    "date": datetime.fromisoformat,
    "ip": ipaddress.ip_address,
    "long": int.__index__,
    "float": float,
    "keyword": str.encode,
}


def test_every_ecs_field_is_one_of_the_published_version_with_its_type():
    event = {"user": "u", "src_ip": "10.0.0.1", "sport": 1, "dst_ip": "10.0.0.2", "dport": 2, "src_host": "a", "dst_host": "b"}
    alert = an_alert(host="h", event={**event, "proto": "tcp", "hostname": "x"}, techniques=("T1498.001",))
    document = ecs(msgspec.structs.replace(alert, folded=FOLDED), OPTIONS)
    del document["vedette"]
    fields = dict(_flat(document))
    types = {field: kind for kind, names in ECS_FIELDS.items() for field in names}
    assert fields.keys() == types.keys()
    for field, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            ECS_TYPES[types[field]](one)


def _flat(document, prefix=""):
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


@pytest.mark.heavy
@pytest.mark.parametrize("alert", [example(), msgspec.structs.replace(example(), folded=FOLDED), an_alert(techniques=())])
def test_ocsf_is_a_valid_detection_finding(detection_finding, alert):
    document = ocsf(alert, OPTIONS)
    detection_finding.validate(document)
    assert (document["class_uid"], document["type_uid"]) == (2004, 200401)


def test_an_alert_for_others_counts_them_in_every_form():
    alert = msgspec.structs.replace(example(), folded=FOLDED)
    assert ocsf(alert, OPTIONS)["count"] == 37
    assert ecs(alert, OPTIONS)["vedette"]["folded"]["count"] == 37
    assert plain(alert, OPTIONS)["folded"]["count"] == 37
    assert read_cef(cef(alert, OPTIONS))[1]["cnt"] == "37"


def test_an_event_that_is_too_large_is_cut_and_the_message_says_so():
    alert = an_alert(event={"text": "x" * 1_000_000})
    finding = ocsf(alert, OPTIONS)
    assert finding["metadata"]["is_truncated"]
    assert finding["metadata"]["untruncated_size"] > 1_000_000
    assert "vedette_event_cut" in ecs(alert, OPTIONS)["tags"]
    assert plain(alert, OPTIONS)["event"][CUT]["bytes"] > 1_000_000
    assert all(len(encode_json(form(alert, OPTIONS))) < 100_000 for form in FORMS.values())


def test_a_cef_message_stays_below_what_syslog_servers_take_by_default():
    long = "x" * 100_000
    alert = an_alert(
        title=long, host=long, rules=(long,) * 50, receipt=long, model=long, event={"user": long, "src_host": long}
    )
    size = len(syslog(alert, cef(alert, OPTIONS), OPTIONS))
    assert size < 8192


def test_what_is_no_address_or_port_is_left_out_of_typed_fields():
    seen = observe(
        an_alert(host="h1", event={"src_ip": "not one", "dst_ip": "::1", "dport": "70000", "sport": "53", "proto": "a b"}),
        OPTIONS,
    )
    assert (seen.source_ip, seen.source_port, seen.destination_ip, seen.destination_port) == (None, 53, "::1", None)
    assert (seen.protocol, seen.host) == (None, "h1")


def test_values_are_found_in_nested_events_and_under_names_of_ones_own():
    nested = an_alert(host="h1", event={"source": {"ip": "10.0.0.1"}, "peer": "10.0.0.2"})
    seen = observe(nested, replace(OPTIONS, fields={"destination_ip": ("peer",)}))
    assert (seen.source_ip, seen.destination_ip) == ("10.0.0.1", "10.0.0.2")


def test_splunk_gets_epoch_seconds_and_an_indexed_id():
    envelope = splunk(example(), ecs(example(), OPTIONS), replace(OPTIONS, splunk_index="soc"))
    assert (envelope["time"], envelope["host"], envelope["index"]) == ("1313675550.000000", "collector-1", "soc")
    assert envelope["fields"]["vedette_id"] == "vedette.events/3/1829#flows"


def test_a_bulk_item_creates_a_document_by_the_id_of_the_alert():
    action, document = bulk_item(example(), {"a": 1}, OPTIONS).splitlines()
    assert json.loads(action) == {"create": {"_index": "vedette-alerts", "_id": "vedette.events/3/1829#flows"}}
    assert json.loads(document) == {"a": 1}


def test_the_signature_is_the_published_scheme():
    headers = signature.sign([b"key"], "id", 1_700_000_000, b"{}")
    wanted = base64.b64encode(hmac.new(b"key", b"id.1700000000.{}", hashlib.sha256).digest()).decode()
    assert headers == {"webhook-id": "id", "webhook-timestamp": "1700000000", "webhook-signature": f"v1,{wanted}"}


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        pytest.param({}, True, id="what was sent verifies"),
        pytest.param({"body": b"{ }"}, False, id="another body does not"),
        pytest.param({"now_s": 1_700_000_301}, False, id="after five minutes it may be a replay"),
        pytest.param({"secret": b"other"}, False, id="nor with another secret"),
        pytest.param({"secret": b"next"}, True, id="during a rotation both secrets verify"),
    ],
)
def test_a_receiver_verifies(change, holds):
    headers = signature.sign([b"key", b"next"], "id", 1_700_000_000, b"{}")
    asked = {"secret": b"key", "body": b"{}", "now_s": 1_700_000_010} | change
    assert signature.verify(asked["secret"], headers, asked["body"], asked["now_s"]) is holds


def test_a_secret_may_be_base64():
    assert signature.secret_bytes("whsec_a2V5") == b"key"
    with pytest.raises(ValueError, match="base64"):
        signature.secret_bytes("whsec_%%%")


HOSTILE = st.one_of(
    st.text(st.characters(codec=None), max_size=40),
    st.sampled_from(
        ["a|b=c\\", "\n\r\0", "\ud800", "=", "]", '"]', "x" * 1_000_000, "\x85\u2028", " cs1=forged", "|", "\ufeff", "💥" * 300]
    ),
)
EVENTS = st.dictionaries(
    HOSTILE | st.sampled_from(["src_ip", "dport", "user", "proto", "host"]),
    st.recursive(
        HOSTILE | st.integers() | st.floats() | st.none() | st.booleans(),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)


@st.composite
def hostile_alerts(draw):
    return an_alert(
        number=draw(st.integers(0, 9)), host=draw(HOSTILE), title=draw(HOSTILE), event=draw(EVENTS), group=draw(HOSTILE) or "g",
        techniques=tuple(draw(st.lists(HOSTILE, max_size=2))), rules=tuple(draw(st.lists(HOSTILE, max_size=2))), model=draw(HOSTILE),
        version=draw(HOSTILE), receipt=draw(HOSTILE), trace_id=draw(HOSTILE), probability=draw(st.floats() | st.none()),
    )  # fmt: skip


@pytest.mark.heavy
@examples(60)
@given(alert=hostile_alerts())
def test_no_value_breaks_json_or_leaves_the_schema(alert, detection_finding):
    for form in FORMS.values():
        text = encode_json(form(alert, OPTIONS))
        assert json.loads(text)
        assert b"\n" not in text
        assert len(text) < 300_000
    detection_finding.validate(json.loads(encode_json(ocsf(alert, OPTIONS))))
    source = ecs(alert, OPTIONS).get("source", {}).get("ip")
    assert source is None or ipaddress.ip_address(source)
    assert len(bulk_item(alert, ecs(alert, OPTIONS), OPTIONS).splitlines()) == 2
    envelope = json.loads(encode_json(splunk(alert, ocsf(alert, OPTIONS), OPTIONS)))
    assert all(isinstance(value, str) and value for value in envelope["fields"].values())
    header = {"idempotency-key": alert.id, **signature.sign([b"key"], signature.webhook_id(alert), 1, b"{}")}
    assert all(value.isascii() and value.isprintable() for value in header.values())


@examples(60)
@given(alert=hostile_alerts())
def test_no_value_forges_a_field_of_cef_or_a_line_of_syslog(alert):
    text = cef(alert, OPTIONS)
    head, found = read_cef(text)
    assert len(head) == 7
    assert (head[0], head[1], head[6]) == ("0", "Vedette", "8")
    assert found["cs6"] == alert.id
    assert not set(found) - {
        "rt", "start", "externalId", "cat", "act", "src", "spt", "shost", "dst", "dpt", "dhost", "proto", "suser", "dvchost", "msg",
        *(f"cs{n}" for n in range(1, 7)), *(f"cs{n}Label" for n in range(1, 7)), "cfp1", "cfp1Label", "cfp2", "cfp2Label",
    }  # fmt: skip
    message = syslog(alert, text, OPTIONS)
    assert not {b"\n"[0], b"\r"[0], 0} & set(message)
    header, data, msg = read_syslog(message)
    assert (header["app"], data["id"], msg) == ("vedette", alert.id, text)
