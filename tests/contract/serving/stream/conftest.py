"""Brokers by kind, and workers on them that are let go at the end."""

import uuid

import pytest

from serving.stream.ports import OutRecord, StreamError
from tests.contract.serving.stream.broker_kinds import KINDS
from tests.contract.serving.stream.workers import Worker


@pytest.fixture(params=KINDS)
def kind(request):
    with KINDS[request.param]() as opened:
        yield opened


@pytest.fixture
def group():
    return f"group-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def start(kind, group):
    """Starts a worker."""
    workers = []

    def started(topic, results="", **options):
        workers.append(Worker(kind, topic, group, results, **options))
        return workers[-1]

    yield started
    for worker in workers:
        worker.ahead.clear()
        try:
            worker.outputs.abort()
            worker.close()
        except StreamError:
            pass  # one that was fenced in the test


@pytest.fixture
def events(kind):
    """A topic with 60 events, 20 in each of its three partitions."""
    topic = kind.topic()
    kind.produce(topic, [event(topic, number) for number in range(60)])
    return topic


def event(topic, number, partitions=3):
    return OutRecord(topic, b"value %d" % number, b"key %d" % (number % 7), (("n", b"%d" % number),), number % partitions)
