"""Slots, the map of a cluster and redirections, as the cluster specification has them; and addresses of many Redis processes."""

import pytest

from lifecycle.training.feast_store import WrongAddress, online_store_on
from serving.cache.redis_cache import RedisCache
from serving.features.plan.errors import RegistryError
from serving.features.plan.feast import redis_url
from serving.features.stores.addresses import endpoints_of, is_cluster, is_sentinel, needs_one_redis
from serving.features.stores.cluster.slot_map import (
    SLOTS,
    Redirect,
    Shard,
    name_in,
    redirect_of,
    shards_of,
    slot_of,
)
from serving.features.stores.writing import RedisWriter
from serving.risk.ledger import LedgerDown
from serving.risk.redis_ledger import RedisLedger
from serving.risk.rules_of_risk import RiskRules

NODE, OTHER = [b"10.0.0.1", 6379, b"id"], [b"10.0.0.2", 6379, b"id"]


@pytest.mark.parametrize(
    ("name", "same"),
    [
        pytest.param(b"{user}.a", b"{user}.b", id="the tag decides"),
        pytest.param(b"a{user}b{other}", b"user", id="the first tag"),
        pytest.param(b"{{user}", b"{user", id="up to the first closing brace"),
    ],
)
def test_names_of_one_tag_are_in_one_slot(name, same):
    assert slot_of(name) == slot_of(same)


def test_the_check_of_the_specification():
    assert slot_of(b"123456789") == 0x31C3 % SLOTS
    assert slot_of(b"{}a") != slot_of(b"{}b"), "an empty tag is none"
    assert slot_of(b"}{") != slot_of(b"")


def test_the_map_of_a_reply():
    shards = shards_of([[0, 5, NODE, OTHER], [7, 9, OTHER], [10, 11, NODE, OTHER]], "asked")
    assert shards == (
        Shard(("10.0.0.1", 6379), (("10.0.0.2", 6379),), ((0, 5), (10, 11))),
        Shard(("10.0.0.2", 6379), (), ((7, 9),)),
    )


@pytest.mark.parametrize("host", [b"", None, b"?"])
def test_a_node_that_does_not_know_its_host_is_where_it_was_asked(host):
    assert shards_of([[0, 5, [host, 7000]]], "asked")[0].master == ("asked", 7000)


@pytest.mark.parametrize("reply", [[[0, 99999, NODE]], [[0]], [[5, 1, NODE]], ["x"], [[0, 1, None]], 7])
def test_a_reply_that_is_no_map_is_refused(reply):
    with pytest.raises(ValueError, match="CLUSTER SLOTS"):
        shards_of(reply, "asked")


def test_what_is_written_is_compared_with_what_masters_have():
    writer = RedisWriter(None, "redis+cluster://10.0.0.1?read_from_replicas=true")
    assert not writer._endpoints.reads_replicas


def test_a_name_of_a_shard_has_one_of_its_slots():
    names = [name_in(Shard(NODE, (), ((slot, slot),))) for slot in range(SLOTS)]
    assert [slot_of(name) for name in names] == list(range(SLOTS))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("MOVED 3999 127.0.0.1:6381", (Redirect.MOVED, ("127.0.0.1", 6381))),
        ("ASK 3999 ::1:6381", (Redirect.ASK, ("::1", 6381))),
        ("MOVED 3999 :6381", (Redirect.MOVED, ("asked", 6381))),
        ("TRYAGAIN Multiple keys", (Redirect.AGAIN, None)),
        ("CLUSTERDOWN The cluster is down", (Redirect.UNAVAILABLE, None)),
        ("LOADING Redis is loading", (Redirect.UNAVAILABLE, None)),
        ("WRONGTYPE Operation", (Redirect.REFUSED, None)),
        ("MOVED nonsense", (Redirect.REFUSED, None)),
    ],
)
def test_what_a_refusal_means(message, expected):
    assert redirect_of(message, "asked") == expected


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://a:1,b:2",
        "rediss+cluster://u:p%40%2F@a:1,b:2?read_from_replicas=true",
        "redis+sentinel://:p@a:1,b:2/m/3",
        "rediss+sentinel://a:1/m/0?sentinel_password=q",
        "redis+sentinel://a:1/m/0?sentinel_ssl=true",
    ],
)
def test_what_training_writes_for_feast_is_what_serving_reads(url):
    assert endpoints_of(redis_url(online_store_on(url))) == endpoints_of(url)


def test_a_sentinel_has_a_login_of_its_own():
    ends = endpoints_of("redis+sentinel://u:p@a,[::1]:7/m?sentinel_username=s&sentinel_password=t&sentinel_ssl=true")
    assert ends.hosts == (("a", 26379), ("::1", 7))
    assert (ends.username, ends.password, ends.sentinel_login) == ("u", "p", ("s", "t"))
    assert (ends.is_tls, ends.is_sentinel_tls, ends.master, ends.database) == (False, True, "m", 0)


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://:hunter2@a/1",
        "redis+cluster://:hunter2@a?x=1",
        "redis+cluster://:hunter2@a:b",
        "redis+cluster://:hunter2@",
        "redis+cluster://:hunter2@a?read_from_replicas=maybe",
        "redis+sentinel://:hunter2@a",
        "redis+sentinel://a/m/x?sentinel_password=hunter2",
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(url):
    with pytest.raises(ValueError, match=r"\w") as refused:
        endpoints_of(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("redis+sentinel://a/m?sentinel_password=q&sentinel_ssl=true", id="two things for sentinels"),
        pytest.param("redis+cluster://:a%2Cb@a", id="a comma in a password"),
        pytest.param("redis+cluster://[::1]:6379", id="an IPv6 address"),
        pytest.param("redis+cluster://a/3", id="a database"),
    ],
)
def test_what_feast_cannot_write_is_said(url):
    with pytest.raises(WrongAddress, match="VEDETTE_REDIS_URL"):
        online_store_on(url)


def test_an_unknown_redis_type_and_unreadable_options_are_said():
    with pytest.raises(RegistryError, match="redis_cluster"):
        redis_url({"redis_type": "other"})
    with pytest.raises(RegistryError, match="sentinel_kwargs"):
        redis_url({"redis_type": "redis_sentinel", "connection_string": 'a:1,sentinel_kwargs={"password":"x","ssl":true}'})


@pytest.mark.parametrize("url", ["redis+cluster://:hunter2@a", "redis+sentinel://:hunter2@a/m"])
def test_the_cache_and_the_ledger_of_risks_name_the_way_out(url):
    assert is_cluster(url) or is_sentinel(url)
    with pytest.raises(LedgerDown, match="VEDETTE_RISK_URL=redis://") as refused:
        RedisLedger(url, RiskRules())
    assert "hunter2" not in str(refused.value)
    assert "VEDETTE_CACHE_URL=redis://" in (needs_one_redis(url, "the cache", "VEDETTE_CACHE_URL") or "")
    with pytest.raises(ValueError, match="redis://"):
        RedisCache(url, 1.0)
    assert needs_one_redis("redis://a", "the cache", "VEDETTE_CACHE_URL") is None
