"""sinks.yaml: what is refused, with the place and the way out, and without a secret."""

import re

import pytest
import yaml

from operators.cli.sinks.examples import CONFIG
from serving.sinks.config import KinesisSinkSource, SinkSource, read_config, url_label
from serving.sinks.errors import SinkConfigError
from serving.sinks.opening import open_transport
from serving.sinks.secrets import SecretSource

HOOK = {"type": "webhook", "url": "https://soar.example.com/a", "secret": {"file": "s"}}


def written(tmp_path, sink, **more):
    (tmp_path / "sinks.yaml").write_text(
        yaml.safe_dump({"sinks": [{"name": "soar", "to": HOOK, **sink}], **more}), encoding="utf-8"
    )
    return tmp_path / "sinks.yaml"


def test_the_example_holds(tmp_path):
    (tmp_path / "sinks.yaml").write_text(CONFIG, encoding="utf-8")
    found = read_config(tmp_path / "sinks.yaml")
    assert [(sink.name, sink.form_name) for sink in found.sinks] == [
        ("siem", "cef"), ("splunk", "ocsf"), ("elastic", "ecs"), ("soar", "plain"),
    ]  # fmt: skip


def test_the_spool_lies_beside_the_file(tmp_path):
    assert read_config(written(tmp_path, {}, spool_dir="spool")).spool_dir == tmp_path / "spool"


@pytest.mark.parametrize(
    ("sink", "says"),
    [
        pytest.param({"to": {**HOOK, "url": "https://user:pa55@h/"}}, "holds no user or password", id="credentials in a URL"),
        pytest.param({"to": {**HOOK, "url": "ftp://pa55/"}}, "http:// or https://", id="another scheme"),
        pytest.param({"to": {**HOOK, "url": "https://pa55:99999/"}}, "cannot be read", id="a port that is none"),
        pytest.param({"to": {**HOOK, "url_from": {"env": "X"}}}, "either `url` or `url_from`", id="two addresses"),
        pytest.param({"to": {**HOOK, "secret": "pa55"}}, "secret", id="a secret in the file"),
        pytest.param(
            {"to": {**HOOK, "secret": {"file": "a", "env": "B"}}}, "either `file` or `env`", id="two places of a secret"
        ),
        pytest.param({"to": {**HOOK, "tokn": "pa55"}}, "to.webhook.tokn", id="an unknown field"),
        pytest.param({"form": "cef"}, "text for syslog", id="CEF in a webhook"),
        pytest.param({"name": "../x"}, "sinks.0.name", id="a name that is a path"),
        pytest.param({"spool": {"most_bytes": 1}}, "most_bytes", id="a spool that holds no alert"),
        pytest.param({"throttle": {"per_second": float("nan")}}, "per_second", id="a limit that is no number"),
    ],
)
def test_what_is_refused_says_where_and_repeats_no_value(tmp_path, sink, says):
    with pytest.raises(SinkConfigError, match=re.escape(says)) as refused:
        read_config(written(tmp_path, sink))
    assert "pa55" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "sinks: []", "[1, 2]", "a: [", "{" * 5000, "a: 2026-99-99", "sinks: [{name: a, to: {type: mail}}]"],
    ids=["empty", "no sinks", "a list", "half YAML", "nested without end", "no date", "an unknown type"],
)  # fmt: skip
def test_what_is_no_configuration(tmp_path, text):
    (tmp_path / "sinks.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SinkConfigError, match=r"sinks\.yaml"):
        read_config(tmp_path / "sinks.yaml")


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ({}, SinkSource),
        ({"topic": "t"}, SinkSource),
        ({"type": "kinesis", "region": "eu-central-1", "stream": "s"}, KinesisSinkSource),
    ],
    ids=["Kafka by default", "a topic", "Kinesis"],
)
def test_where_alerts_come_from(tmp_path, source, kind):
    assert isinstance(read_config(written(tmp_path, {}, source=source)).source, kind)


def test_a_secret_among_the_options_of_kafka_is_refused_and_not_repeated(tmp_path):
    with pytest.raises(SinkConfigError, match=r"write `secret_options: \{sasl.password: \{file: PATH\}\}`") as raised:
        read_config(written(tmp_path, {}, source={"options": {"security.protocol": "SASL_SSL", "sasl.password": "hunter2"}}))
    assert "hunter2" not in str(raised.value)


def test_two_sinks_with_one_name_are_refused(tmp_path):
    (tmp_path / "sinks.yaml").write_text(yaml.safe_dump({"sinks": [{"name": "a", "to": HOOK}] * 2}), encoding="utf-8")
    with pytest.raises(SinkConfigError, match="two sinks have the name a"):
        read_config(tmp_path / "sinks.yaml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read"),
        (b"\n \n", "holds no secret"),
        (b"\xff", "not text"),
        (b"a\nb\n", "one line"),
        ("ö".encode(), "ASCII"),
    ],
    ids=["no file", "an empty file", "no text", "two lines", "not ASCII"],
)
def test_a_secret_that_cannot_be_used_is_not_repeated(tmp_path, text, says):
    if text is not None:
        (tmp_path / "s").write_bytes(text)
    with pytest.raises(SinkConfigError, match=says):
        SecretSource(file=tmp_path / "s").value()


def test_a_secret_comes_from_the_environment_when_it_is_asked(monkeypatch):
    source = SecretSource(env="VEDETTE_TEST_TOKEN")
    with pytest.raises(SinkConfigError, match="VEDETTE_TEST_TOKEN: holds no secret"):
        source.value()
    monkeypatch.setenv("VEDETTE_TEST_TOKEN", " t0ken \n")
    assert source.value() == "t0ken"


def test_a_missing_secret_or_certificate_is_told_at_the_start(tmp_path):
    config = read_config(written(tmp_path, {"to": {**HOOK, "secret": {"file": str(tmp_path / "none")}}}))
    with pytest.raises(SinkConfigError, match="none: the secret cannot be read"):
        open_transport(config.sinks[0], "0")
    tls = {"type": "syslog", "host": "h", "tls": {"ca": str(tmp_path / "no-ca")}}
    with pytest.raises(SinkConfigError, match="no-ca: TLS cannot be set up"):
        open_transport(read_config(written(tmp_path, {"to": tls})).sinks[0], "0")


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("https://hooks.example.com/services/T0/XXXX", "https://hooks.example.com"),
        ("http://h:8088/?key=x", "http://h:8088"),
        ("https://[2001:db8::1]:9200/", "https://[2001:db8::1]:9200"),
    ],
)
def test_of_an_address_only_host_and_port_are_shown(url, label):
    assert url_label(url) == label
