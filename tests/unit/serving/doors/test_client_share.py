"""Whose connections count together, and when an address has its share."""

import pytest

from serving.doors.client_share import NO_LIMIT, ClientShare, share_of


class Transport:
    def __init__(self, *address):
        self.address = address

    def get_extra_info(self, name):
        assert name == "peername"
        return self.address or None


@pytest.mark.parametrize(("one", "other", "is_same"), [
    pytest.param("10.0.0.1", "10.0.0.1", True, id="an address"),
    pytest.param("10.0.0.1", "10.0.0.2", False, id="two addresses"),
    pytest.param("2001:db8::1", "2001:db8::ffff:1", True, id="a network of IPv6"),
    pytest.param("2001:db8::1", "2001:db8:0:1::1", False, id="two networks of IPv6"),
    pytest.param("::ffff:10.0.0.1", "10.0.0.1", True, id="IPv4 on a socket of both"),
    pytest.param("fe80::1%eth0", "fe80::2%eth0", True, id="with a zone"),
])  # fmt: skip
def test_who_is_one_client(one, other, is_same):
    share = ClientShare(1)
    assert share.enter(Transport(one, 1))[1]
    assert share.enter(Transport(other, 2))[1] != is_same


def test_what_is_given_back_counts_no_more():
    share = ClientShare(2)
    clients = [share.enter(Transport("10.0.0.1", port)) for port in range(3)]
    assert [is_within for _, is_within in clients] == [True, True, False]
    for client, _ in clients:
        share.leave(client)
    assert share.enter(Transport("10.0.0.1", 9))[1]
    share.leave(None)


def test_without_a_limit_or_an_address_nothing_is_counted():
    assert ClientShare(NO_LIMIT).enter(Transport("10.0.0.1", 1)) == (None, True)
    assert ClientShare(1).enter(Transport()) == (None, True)


@pytest.mark.parametrize(("connections", "share", "most"), [(10_000, 0.5, 5000), (1, 0.5, 1), (10_000, 1.0, NO_LIMIT)])
def test_the_share_of_a_door(connections, share, most):
    assert share_of(connections, share) == most
