"""Told to stop while the broker is away: no call into librdkafka holds the signal up for long. Nothing listens at the broker's address."""

import pytest

from serving.stream.kafka import group, idempotent
from serving.stream.kafka.cluster import KafkaCluster
from serving.stream.kafka.idempotent import IdempotentOutputs
from serving.stream.ports import OutRecord, StreamError

AWAY = KafkaCluster("127.0.0.1:1")


def test_what_is_not_delivered_is_given_up_once_told_to_stop(monkeypatch):
    monkeypatch.setattr(idempotent, "STOPPING_S", 0.0)
    monkeypatch.setattr(idempotent, "PAUSE_S", 0.01)
    asked = []
    outputs = IdempotentOutputs(AWAY, None, patience_s=3600.0, is_stopping=lambda: len(asked) > 3 or asked.append(1))
    outputs.send([OutRecord("risks", b"{}")])
    with pytest.raises(StreamError, match="1 records were not delivered within 3600 s, or before it was stopped"):
        outputs.commit({})
    assert len(asked) == 4
    outputs.close()


def test_a_broker_that_is_away_is_not_asked_for_its_protocols_for_long_once_told_to_stop(monkeypatch):
    monkeypatch.setattr(group, "_ASK_S", 0.01)
    monkeypatch.setattr(group, "CHOOSING_S", 3600.0)
    asked = []
    assert group.chosen_protocol(AWAY, "auto", None, lambda: len(asked) > 3 or asked.append(1)) == "classic"
    assert len(asked) == 4
