"""Who a request is from, behind proxies. Each case is named for the attack or the network that it stands for."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.access.forwarded import FORWARDED, X_FORWARDED_FOR, TrustedProxies
from serving.settings import ServingSettings
from serving.telemetry.access_names import FORWARDED_HEADERS

NETWORKS = [ip_network(text) for text in ("10.0.0.0/24", "fd00:12::/64")]
PROXY, NEXT, CLIENT, OTHER = "10.0.0.7", "10.0.0.8", "203.0.113.9", "198.51.100.1"


def proxies(header="x-forwarded-for"):
    return TrustedProxies(NETWORKS, header)


def counted(of):
    ((doc, values),) = of.metrics()
    assert doc is FORWARDED_HEADERS
    return {outcome: int(n) for (outcome,), n in values.items() if n}


@pytest.mark.parametrize(
    ("peer", "value", "client", "outcome"),
    [
        pytest.param(PROXY, CLIENT, CLIENT, "used", id="one proxy"),
        pytest.param("::ffff:10.0.0.7", CLIENT, CLIENT, "used", id="an IPv4 proxy on a socket of both"),
        pytest.param("fd00:12::1", "2001:db8::1", "2001:db8::1", "used", id="IPv6"),
        pytest.param(PROXY, f"{CLIENT}, {NEXT}", CLIENT, "used", id="two proxies"),
        pytest.param(PROXY, f"{OTHER}, {CLIENT}", CLIENT, "used", id="attack: the client sends an address of another"),
        pytest.param(PROXY, f"{OTHER}, {NEXT}, {CLIENT}", CLIENT, "used", id="attack: the client sends that of a proxy"),
        pytest.param(
            PROXY, f"garbage, \x00, {CLIENT}, {NEXT}", CLIENT, "used", id="attack: what the client sends cannot be read"
        ),
        pytest.param(PROXY, "9.9.9.9," * 10_000 + CLIENT, CLIENT, "used", id="attack: a header without end"),
        pytest.param(OTHER, CLIENT, OTHER, "stranger", id="attack: nobody stands in front"),
        pytest.param("", CLIENT, "", "stranger", id="a socket without an address"),
        pytest.param("10.0.1.7", CLIENT, "10.0.1.7", "stranger", id="beside the network of proxies"),
        pytest.param(PROXY, f"{CLIENT}:4711", CLIENT, "used", id="with a port"),
        pytest.param(PROXY, "[2001:db8::1]:4711", "2001:db8::1", "used", id="IPv6 with a port"),
        pytest.param(PROXY, f"::ffff:{CLIENT}", CLIENT, "used", id="IPv4 written as IPv6: one client, not two"),
        pytest.param(PROXY, f"{NEXT}, {PROXY}", NEXT, "used", id="a proxy asks for itself"),
        pytest.param(PROXY, f"{CLIENT}, unknown", PROXY, "malformed", id="the proxy does not know"),
        pytest.param(PROXY, "", PROXY, "malformed", id="empty"),
        pytest.param(PROXY, f"{CLIENT},", PROXY, "malformed", id="an empty hop at the end"),
        pytest.param(PROXY, "203.0.113.9.evil.example", PROXY, "malformed", id="a name"),
        pytest.param(PROXY, "0xCB.0.113.9", PROXY, "malformed", id="not in decimal"),
        pytest.param(PROXY, "203.0.113.009", PROXY, "malformed", id="leading zeros, octal for some"),
        pytest.param(PROXY, "fe80::1%eth0", PROXY, "malformed", id="of a zone"),
        pytest.param(PROXY, "\u0662.0.113.9", PROXY, "malformed", id="digits of another script"),
        pytest.param(PROXY, f"{CLIENT}:port", PROXY, "malformed", id="a port that is none"),
        pytest.param(PROXY, ", ".join([OTHER, *[NEXT] * 40]), PROXY, "malformed", id="proxies without end"),
    ],
)
def test_x_forwarded_for(peer, value, client, outcome):
    one = proxies()
    assert one.client_of(peer, {X_FORWARDED_FOR: value.encode()}) == client
    assert counted(one) == {outcome: 1}


@pytest.mark.parametrize(
    ("value", "client", "outcome"),
    [
        pytest.param(f"for={CLIENT};proto=https;by={NEXT}", CLIENT, "used", id="one proxy"),
        pytest.param(f"For={OTHER}, FOR={CLIENT}", CLIENT, "used", id="names have no case; the client's own is left of it"),
        pytest.param('for="[2001:db8::1]:4711"', "2001:db8::1", "used", id="IPv6"),
        pytest.param(f'for="{OTHER}, for={CLIENT}', CLIENT, "used", id="attack: a quote that is never closed"),
        pytest.param(f'x="{OTHER};, for={CLIENT}', CLIENT, "used", id="attack: a quote in another parameter"),
        pytest.param(f"for={CLIENT};for={OTHER}", PROXY, "malformed", id="attack: two in one element"),
        pytest.param("for=_hidden", PROXY, "malformed", id="an obfuscated name"),
        pytest.param("for=unknown", PROXY, "malformed", id="unknown"),
        pytest.param("proto=https", PROXY, "malformed", id="no client in it"),
        pytest.param(f'for="{CLIENT}', PROXY, "malformed", id="an open quote in the proxy's own"),
        pytest.param(CLIENT, PROXY, "malformed", id="the form of the other header"),
    ],
)
def test_forwarded(value, client, outcome):
    one = proxies("forwarded")
    assert one.client_of(PROXY, {FORWARDED: value.encode()}) == client
    assert counted(one) == {outcome: 1}


@pytest.mark.parametrize(("read", "sent"), [("x-forwarded-for", FORWARDED), ("forwarded", X_FORWARDED_FOR)])
def test_attack_the_header_that_no_proxy_writes_is_not_read(read, sent):
    one = proxies(read)
    assert one.client_of(PROXY, {sent: f"for={OTHER}".encode()}) == PROXY
    assert counted(one) == {}


@given(st.binary(max_size=200))
def test_whatever_a_client_sends_the_proxys_own_word_counts(sent):
    assert proxies().client_of(PROXY, {X_FORWARDED_FOR: sent + b", " + CLIENT.encode()}) == CLIENT
    assert proxies("forwarded").client_of(PROXY, {FORWARDED: sent + b", for=" + CLIENT.encode()}) == CLIENT


@pytest.mark.parametrize("networks", ["10.0.0.0/99", "everything", "10.0.0.1/8", "0.0.0.0/0", "10.0.0.0/8 ::/0"])
def test_networks_that_cannot_be_trusted_are_refused(networks):
    with pytest.raises(ValueError, match="VEDETTE_TRUSTED_PROXIES"):
        ServingSettings(trusted_proxies=networks)
