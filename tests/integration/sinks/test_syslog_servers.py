"""A real rsyslogd receives CEF over TCP and TLS; what it wrote is read back and is what was sent."""

import contextlib
import re
import signal

import pytest

from serving.sinks.config import SinkConfig
from serving.sinks.errors import FarEndDown
from serving.sinks.forms.cef import cef
from serving.sinks.opening import form_options, open_transport
from tests.fakes.certificates import write_certificate
from tests.fakes.sinks.alerts import an_alert
from tests.fakes.sinks.cef_parser import read_cef
from tests.fakes.sinks.rsyslog import Rsyslog, required

pytestmark = pytest.mark.integration
HOSTILE = ["plain", "a|b=c\\d", "two\nlines\r", "NUL\0", "größe 💥", "half \ud800", '"quoted"]', " cs1=forged ", "x" * 100_000]


def config(port, certificates=None, **to):
    tls = {"tls": {"ca": str(certificates / "tls.crt")}} if certificates else {}
    return SinkConfig.model_validate({"name": "siem", "to": {"type": "syslog", "host": "127.0.0.1", "port": port, **tls, **to}})


@pytest.fixture(params=["tcp", "tls"])
def certificates(request, tmp_path):
    required(tls=request.param == "tls")
    if request.param == "tcp":
        return None
    (tmp_path / "certificates").mkdir()
    write_certificate(tmp_path / "certificates")
    return tmp_path / "certificates"


@pytest.fixture
def server(tmp_path, certificates):
    server = Rsyslog(tmp_path / "rsyslog", certificates)
    yield server
    server.stop()


def test_what_it_wrote_is_what_was_sent(server, certificates):
    sink = config(server.port, certificates)
    alerts = [an_alert(number, title=text, host=f"h{number}", event={"user": text}) for number, text in enumerate(HOSTILE)]
    transport = open_transport(sink, "0.1.0")
    assert {answer.what for answer in transport.send(alerts)} == {"taken"}
    transport.close()
    written = server.waits_for(len(alerts))
    options = form_options(sink, "0.1.0")
    for alert, message in zip(alerts, written, strict=True):
        assert message["pri"] == str(10 * 8 + 3)
        assert (message["app"], message["id"]) == ("vedette", "ALERT")
        assert read_cef(message["text"].removeprefix("\ufeff")) == read_cef(cef(alert, options))
        assert f'id="{alert.id}"' in message["data"]
        assert re.fullmatch(r"\[vedette@32473( \w+=\"([^\"\\\]]|\\.)*\"){5}\]", message["data"])


def test_a_server_that_comes_back_gets_what_follows(server, certificates):
    transport = open_transport(config(server.port, certificates), "0.1.0")
    transport.send([an_alert(1)])
    server.waits_for(1)
    server.stop(signal.SIGKILL)
    with pytest.raises(FarEndDown, match=r"127\.0\.0\.1"):
        transport.send([an_alert(2)])
    server.start()
    transport.send([an_alert(2), an_alert(3)])
    transport.close()
    ids = [read_cef(message["text"])[1]["cs6"] for message in server.waits_for(3)]
    assert ids == [an_alert(number).id for number in (1, 2, 3)]


def test_a_certificate_that_is_not_trusted_is_not_spoken_to(server, certificates, tmp_path):
    if certificates is None:
        pytest.skip("plain TCP has no certificate")
    (tmp_path / "others").mkdir()
    write_certificate(tmp_path / "others")
    transport = open_transport(config(server.port, tmp_path / "others"), "0.1.0")
    with pytest.raises(FarEndDown, match="certificate is not accepted"):
        transport.send([an_alert(1)])
    assert not server.messages()


def test_a_server_that_asks_for_a_certificate_gets_it(tmp_path):
    required(tls=True)
    write_certificate(tmp_path)
    server = Rsyslog(tmp_path / "rsyslog", tmp_path, asks=True)
    to = {"type": "syslog", "host": "127.0.0.1", "port": server.port, "tls": {"ca": str(tmp_path / "tls.crt")}}
    own = {**to["tls"], "certificate": str(tmp_path / "tls.crt"), "key": str(tmp_path / "tls.key")}
    for number, tls in ((1, to["tls"]), (2, own)):
        transport = open_transport(SinkConfig.model_validate({"name": "siem", "to": {**to, "tls": tls}}), "0.1.0")
        with contextlib.suppress(FarEndDown):
            transport.send([an_alert(number)])
        transport.close()
    written = server.waits_for(1)
    server.stop()
    assert [read_cef(message["text"])[1]["cs6"] for message in written] == [an_alert(2).id]
