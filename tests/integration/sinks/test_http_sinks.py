"""Splunk, Elasticsearch and webhooks as real HTTP servers that answer as their manuals say, also when things go wrong."""

import json
import ssl
import threading
import time
from collections import defaultdict

import pytest

from serving.sinks.config import SinkConfig
from serving.sinks.errors import FarEndDown
from serving.sinks.forms.signature import verify
from serving.sinks.opening import open_sink, open_transport
from tests.fakes.certificates import write_certificate
from tests.fakes.sinks.alerts import an_alert
from tests.fakes.sinks.receivers import ElasticsearchReceiver, SplunkReceiver, WebhookReceiver, json_reply
from tests.waiting import HANG_S, until

pytestmark = pytest.mark.integration
SECRET = "correct horse battery staple"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "secret").write_text(f"{SECRET}\n", encoding="utf-8")
    (tmp_path / "token").write_text("t0ken\n", encoding="utf-8")
    return tmp_path


def sink(files, receiver, kind, *, batch=None, **to):
    own = {"webhook": {"secret": {"file": str(files / "secret")}}, "splunk": {"token": {"file": str(files / "token")}}}.get(
        kind, {}
    )
    return SinkConfig.model_validate(
        {
            "name": kind,
            "to": {"type": kind, "url": receiver.url, **own, **to},
            "batch": {"timeout_s": 5, "first_wait_s": 0.01, "most_wait_s": 0.05, **(batch or {})},
        }
    )


@pytest.fixture
def webhook():
    yield from _stopped(WebhookReceiver())


@pytest.fixture
def splunk():
    yield from _stopped(SplunkReceiver())


@pytest.fixture
def elastic():
    yield from _stopped(ElasticsearchReceiver())


def _stopped(receiver):
    yield receiver
    receiver.released.set()
    receiver.stop()


class Running:
    """A sink at work: its spool, and its thread."""

    def __init__(self, config, folder):
        self.sink = open_sink(config, folder, "0.1.0", time.monotonic())
        self.thread = threading.Thread(target=self.sink.delivery.run, daemon=True)
        self.thread.start()

    def takes(self, *alerts):
        self.sink.pipeline.take(alerts, time.monotonic())
        return self

    def delivers(self):
        until(lambda: self.sink.spool.waiting == 0, "the spool does not become empty")

    def stop(self):
        self.sink.delivery.stopped.set()
        self.sink.spool.wake()
        self.thread.join(HANG_S)
        self.sink.spool.close()


@pytest.fixture
def running(files):
    made = []

    def run(config):
        made.append(Running(config, files / "spool"))
        return made[-1]

    yield run
    for one in made:
        one.stop()


def test_a_webhook_gets_each_alert_once_and_can_verify_it(webhook, running, files):
    alerts = [an_alert(n, host=f"h{n % 5}") for n in range(50)]
    running(sink(files, webhook, "webhook")).takes(*alerts).delivers()
    assert set(webhook.kept) == {alert.id for alert in alerts}
    for key, headers in webhook.headers.items():
        assert verify(SECRET.encode(), headers, webhook.bodies[key], int(time.time()))
        assert webhook.kept[key]["id"] == key
    assert webhook.connections <= 4  # kept alive, one a lane


@pytest.mark.parametrize("down_s", [pytest.param(0, id="a while"), pytest.param(60, id="60 s", marks=pytest.mark.soak)])
def test_a_webhook_that_is_down_gets_every_alert_once_in_order(webhook, running, files, down_s):
    config = sink(files, webhook, "webhook", batch={"most_alerts": 7})
    alerts = [an_alert(n, host=f"h{n % 5}") for n in range(100)]
    process = running(config)
    process.takes(*alerts[:20])
    until(lambda: len(webhook.kept) >= 10, "the first alerts do not arrive")
    webhook.stop()
    back_s = time.monotonic() + down_s
    process.takes(*alerts[20:80])
    failed = process.sink.counts.failed + process.sink.counts.retried
    until(lambda: process.sink.counts.failed + process.sink.counts.retried > failed + 5, "it is not tried again")
    until(lambda: time.monotonic() >= back_s)
    process.stop()  # a restart while it is down
    process = running(config)
    process.takes(*alerts[80:])
    webhook.script = [
        (503, {"retry-after": "0"}, b""),
        "hang up",
        "hang up in mid-body",
        (429, {}, b"slow down"),
        (500, {}, b""),
    ] * 3
    webhook.start()
    process.delivers()
    assert set(webhook.kept) == {alert.id for alert in alerts}
    order = defaultdict(list)
    for document in webhook.kept.values():
        order[document["verdict"]["entity"]["host"]].append(int(document["verdict"]["id"].rsplit("/", 1)[1]))
    assert all(numbers == sorted(numbers) for numbers in order.values())


def test_a_webhook_that_refuses_an_alert_gets_the_others(webhook, running, files):
    webhook.script = [(422, {}, b"no such field")]
    process = running(sink(files, webhook, "webhook", lanes=1))
    process.takes(*map(an_alert, range(5))).delivers()
    assert len(webhook.kept) == 4
    letter = json.loads((files / "spool" / "dead" / "webhook.jsonl").read_text(encoding="utf-8"))
    assert "HTTP 422: no such field" in letter["reason"]
    assert json.loads(letter["alert"])["id"] == an_alert(0).id


def test_a_token_that_is_refused_sets_nothing_aside(splunk, running, files):
    (files / "token").write_text("wrong", encoding="utf-8")
    process = running(sink(files, splunk, "splunk"))
    process.takes(an_alert(1))
    until(lambda: process.sink.counts.retried >= 3, "it is not tried again")
    (files / "token").write_text("t0ken", encoding="utf-8")  # rotated: no restart
    process.delivers()
    assert len(splunk.events) == 1
    assert process.sink.counts.dead == 0


def test_splunk_gets_batches_and_is_waited_for_until_they_are_indexed(running, files):
    splunk = SplunkReceiver(has_acks=True)
    asked = defaultdict(int)

    def indexes(ack):
        asked[ack] += 1
        return asked[ack] >= 3

    splunk.indexes = indexes
    running(sink(files, splunk, "splunk", acknowledged=True)).takes(*map(an_alert, range(30))).delivers()
    splunk.stop()
    assert [event["fields"]["vedette_id"] for event in splunk.events] == [an_alert(n).id for n in range(30)]
    assert asked == {0: 3}


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(json_reply(503, {"text": "Server is busy", "code": 9}, retry_after="0"), id="code 9, busy"),
        pytest.param(json_reply(500, {"text": "Internal server error", "code": 8}), id="code 8, internal error"),
        pytest.param(json_reply(400, {"text": "Incorrect index", "code": 7}), id="code 7, the sink is set up wrongly"),
        pytest.param(json_reply(429, {"text": "slow"}), id="429"),
        pytest.param(json_reply(200, {"text": "not so", "code": 8}), id="200 with a code of failure"),
        pytest.param((502, {}, b"<html>bad gateway</html>"), id="a proxy's answer"),
        pytest.param((302, {"location": "http://example.com"}, b""), id="a redirect is not followed"),
        pytest.param("hang up", id="it hangs up"),
    ],
)
def test_splunk_that_is_in_trouble_gets_alerts_later(splunk, running, files, trouble):
    splunk.script = [trouble, trouble]
    process = running(sink(files, splunk, "splunk"))
    process.takes(*map(an_alert, range(5))).delivers()
    assert [event["fields"]["vedette_id"] for event in splunk.events] == [an_alert(n).id for n in range(5)]
    assert process.sink.counts.dead == 0


def test_an_event_that_splunk_refuses_is_set_aside_and_the_others_are_indexed(splunk, running, files):
    splunk.bad = lambda event: event["fields"]["vedette_id"] == an_alert(3).id
    process = running(sink(files, splunk, "splunk"))
    process.takes(*map(an_alert, range(6))).delivers()
    assert {event["fields"]["vedette_id"] for event in splunk.events} == {an_alert(n).id for n in (0, 1, 2, 4, 5)}
    assert process.sink.counts.dead == 1


def test_elasticsearch_judges_each_document(elastic, running, files):
    tries = defaultdict(int)

    def judge(name, document):
        tries[name] += 1
        if name == an_alert(1).id:
            return 400, "failed to parse field [x]"
        return (429, "rejected execution") if name == an_alert(2).id and tries[name] < 3 else None

    elastic.judge = judge
    process = running(sink(files, elastic, "elasticsearch"))
    process.takes(*map(an_alert, range(5))).delivers()
    assert set(elastic.documents) == {an_alert(n).id for n in (0, 2, 3, 4)}
    assert (process.sink.counts.dead, tries[an_alert(0).id]) == (1, 1)


def test_elasticsearch_that_lost_its_answer_has_no_document_twice(elastic, running, files):
    elastic.script = ["hang up in mid-body"]
    process = running(sink(files, elastic, "elasticsearch"))
    process.takes(*map(an_alert, range(5))).delivers()
    assert len(elastic.documents) == 5
    assert (process.sink.counts.sent, process.sink.counts.failed) == (5, 1)


def test_a_request_that_is_too_large_is_halved(elastic, running, files):
    whole = elastic.answer

    def answer(path, headers, body):
        return (413, {}, b"") if body.count(b"\n") > 6 else whole(path, headers, body)

    elastic.answer = answer
    running(sink(files, elastic, "elasticsearch")).takes(*map(an_alert, range(20))).delivers()
    assert len(elastic.documents) == 20


def test_large_bodies_are_compressed_where_that_is_asked_for(elastic, running, files):
    running(sink(files, elastic, "elasticsearch", gzip=True)).takes(*map(an_alert, range(20))).delivers()
    assert elastic.requests[0][1]["content-encoding"] == "gzip"
    assert len(elastic.documents) == 20


def test_a_far_end_that_takes_no_compressed_bodies_gets_plain_ones(elastic, running, files):
    elastic.script = [(415, {}, b"")]
    process = running(sink(files, elastic, "elasticsearch", batch={"most_alerts": 10}))
    process.takes(*map(an_alert, range(20))).delivers()
    assert [headers.get("content-encoding") for _, headers, _ in elastic.requests] == ["gzip", None, None]
    assert len(elastic.documents) == 20


def test_an_address_keeps_its_own_path_and_query(splunk, files):
    (files / "url").write_text(f"{splunk.url}/prefix/?tenant=7", encoding="utf-8")
    to = {"type": "splunk", "url_from": {"file": str(files / "url")}, "token": {"file": str(files / "token")}}
    splunk.script = [json_reply(200, {"text": "Success", "code": 0})]
    transport = open_transport(SinkConfig.model_validate({"name": "s", "to": to}), "0.1.0")
    transport.send([an_alert(1)])
    assert splunk.requests[0][0] == "/prefix/services/collector/event?tenant=7"
    (files / "url").unlink()
    with pytest.raises(FarEndDown, match="the secret cannot be read"):
        transport.send([an_alert(1)])
    transport.close()


def test_an_answer_that_does_not_come_is_not_waited_for(webhook, files):
    webhook.script = ["slow"]
    transport = open_transport(sink(files, webhook, "webhook", batch={"timeout_s": 0.2}), "0.1.0")
    (answer,) = transport.send([an_alert(1)])
    transport.close()
    assert answer.what == "later"
    assert "no answer within 0.2 s" in answer.reason


def test_a_proxy_is_asked_where_one_is_named(webhook, files):
    transport = open_transport(sink(files, webhook, "webhook", url="http://soar.invalid/alerts", proxy=webhook.url), "0.1.0")
    (answer,) = transport.send([an_alert(1)])
    transport.close()
    assert answer.what == "taken"
    assert webhook.requests[0][0] == "http://soar.invalid/alerts"


def test_https_is_spoken_to_the_authority_that_is_named_and_to_no_other(files):
    for name in ("ours", "others"):
        (files / name).mkdir()
        write_certificate(files / name)

    class TlsReceiver(WebhookReceiver):
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(files / "ours" / "tls.crt", files / "ours" / "tls.key")

    receiver = TlsReceiver()
    said = {}
    for name in ("others", "ours"):
        transport = open_transport(sink(files, receiver, "webhook", tls={"ca": str(files / name / "tls.crt")}), "0.1.0")
        (said[name],) = transport.send([an_alert(1)])
        transport.close()
    receiver.stop()
    assert (said["others"].what, said["ours"].what) == ("later", "taken")
    assert "certificate is not accepted" in said["others"].reason
    assert len(receiver.requests) == 1


def test_secrets_are_in_no_message(files, splunk, caplog):
    secret = "s3cret-in-the-path"
    (files / "url").write_text(f"{splunk.url}/{secret}?key={secret}", encoding="utf-8")
    (files / "token").write_text("t0ken-s3cret", encoding="utf-8")
    splunk.script = [(401, {}, b"you sent Splunk t0ken-s3cret")]
    config = SinkConfig.model_validate(
        {
            "name": "s",
            "to": {"type": "splunk", "url_from": {"file": str(files / "url")}, "token": {"file": str(files / "token")}},
        }
    )
    transport = open_transport(config, "0.1.0")
    (answer,) = transport.send([an_alert(1)])
    splunk.stop()
    with pytest.raises(FarEndDown) as down:
        transport.send([an_alert(1)])
    transport.close()
    said = f"{answer} {down.value} {transport.label} {config!r} {caplog.text}"
    assert "s3cret" not in said
