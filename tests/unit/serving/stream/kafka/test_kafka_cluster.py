"""Options of Kafka, and its errors in words: what may not be set, what must not be shown, the way out."""

import logging

import pytest
from confluent_kafka import KafkaError, KafkaException

from serving.stream.kafka.cluster import KafkaCluster, ToldOnce, is_passing, words
from serving.stream.ports import StreamError
from tests.fakes.stream.log import murmur2


@pytest.mark.parametrize(
    "name", ["enable.auto.commit", "isolation.level", "transactional.id", "partitioner", "session.timeout.ms"]
)
def test_what_the_guarantees_rest_on_is_no_option(name):
    with pytest.raises(StreamError, match=name):
        KafkaCluster("broker:9092", {"security.protocol": "SSL", name: "1"})


def test_options_are_not_shown():
    cluster = KafkaCluster("broker:9092", {"sasl.password": "hush", "security.protocol": "SASL_SSL"})
    assert "hush" not in repr(cluster)
    assert "hush" not in str(cluster.error(ValueError("no"), "open"))
    assert cluster.properties({}, {})["sasl.password"] == "hush"


@pytest.mark.parametrize("code", [KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN], ids=["one broker", "all of them"])
def test_a_broker_that_hangs_up_may_want_another_protocol(code):
    assert "security.protocol in the Kafka options is that of this listener" in words(KafkaError(code))


def test_an_option_may_change_a_default_and_nothing_that_is_fixed():
    properties = KafkaCluster("broker:9092", {"linger.ms": "50"}).properties({"linger.ms": 5, "retries": 3}, {"acks": "all"})
    assert (properties["linger.ms"], properties["retries"], properties["acks"]) == ("50", 3, "all")


@pytest.mark.parametrize(
    ("code", "passes"),
    [
        pytest.param(KafkaError._TRANSPORT, True, id="a broker that is away comes back"),
        pytest.param(KafkaError.NOT_COORDINATOR, True, id="a coordinator moves"),
        pytest.param(KafkaError.UNKNOWN_TOPIC_OR_PART, True, id="a topic that is not there may come"),
        pytest.param(KafkaError.TOPIC_AUTHORIZATION_FAILED, False, id="rights do not come by waiting"),
        pytest.param(KafkaError.FENCED_INSTANCE_ID, False, id="nor does a name that another one has"),
    ],
)
def test_which_errors_pass(code, passes):
    assert is_passing(KafkaError(code)) is passes


def test_an_error_says_the_way_out():
    said = words(KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))
    assert "grant this client READ or WRITE" in said


def warnings_of(caplog):
    return sum(record.levelno == logging.WARNING for record in caplog.records)


def test_an_error_that_lasts_is_told_once(caplog):
    told = ToldOnce(KafkaCluster("broker:9092"))
    with caplog.at_level(logging.WARNING, "vedette.stream"):
        for code in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN) * 20:
            told(KafkaError(code))
    assert warnings_of(caplog) == 2
    told.over()
    told(KafkaError(KafkaError._TRANSPORT))
    assert warnings_of(caplog) == 3


def test_an_error_is_over_when_calls_succeed_and_it_was_not_heard_for_a_while(caplog):
    now_s = 100.0
    told = ToldOnce(KafkaCluster("broker:9092"), lambda: now_s)
    with caplog.at_level(logging.INFO, "vedette.stream"):
        told.works()
        for _ in range(20):  # one broker of several is away
            told(KafkaError(KafkaError._TRANSPORT))
            now_s += 1.0
            told.works()
        assert len(caplog.records) == 1
        now_s += 5.0
        told.works()
        told.works()
        assert [record.getMessage() for record in caplog.records[1:]] == ["kafka://broker:9092: it works again"]
        told(KafkaError(KafkaError._TRANSPORT))
    assert len(caplog.records) == 3


def test_the_log_of_the_client_has_only_what_ends_it_unless_the_user_wants_more():
    assert KafkaCluster("broker:9092").properties({}, {})["log_level"] == 2
    assert KafkaCluster("broker:9092", {"log_level": "7"}).properties({}, {})["log_level"] == "7"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_fake_broker_hashes_keys_as_java_does(key, expected):
    """The values of Kafka's own UtilsTest.testMurmur2."""
    assert murmur2(key) - (murmur2(key) >> 31 << 32) == expected
