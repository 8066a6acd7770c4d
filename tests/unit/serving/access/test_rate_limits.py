"""Limits of rates: laws of the bucket, and that memory stays bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.access.policy import RateLimit
from serving.access.rate_limits import Bucket, RateLimits
from serving.access.refusals import RateLimited
from serving.doors.grpc.status import failure
from serving.doors.http.reply import refusal


@given(st.floats(0.1, 1000), st.floats(0.1, 10), st.lists(st.floats(0, 2), max_size=60))
def test_no_more_is_let_in_than_the_burst_and_the_rate_allow(rate, burst_s, pauses):
    bucket, now, taken = Bucket(rate, burst_s, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(1.0, now) == 0.0
    assert taken <= bucket.size + rate * now + 1e-6


@given(st.floats(0.1, 1000), st.floats(0.1, 10), st.floats(1, 5000))
def test_whoever_waits_as_told_is_let_in(rate, burst_s, amount):
    bucket, now = Bucket(rate, burst_s, 0.0), 0.0
    for _ in range(5):
        wait_s = bucket.take(amount, now)
        if wait_s:
            now += wait_s * (1 + 1e-9)
            assert bucket.take(amount, now) == 0.0


def test_a_request_larger_than_the_bucket_is_let_in_and_paid_for_afterwards():
    bucket = Bucket(10, 1, 0.0)
    assert bucket.take(50, 0.0) == 0.0
    assert bucket.take(1, 0.0) == pytest.approx(4.1)


def test_buckets_of_clients_without_end_stay_within_the_limit_and_a_busy_one_is_kept():
    limits = RateLimits(most=10)
    limit = RateLimit(requests_per_s=1, burst_s=1)
    limits.of("busy", limit, 0.0).request(0.0)
    for n in range(1000):
        limits.of(f"address:{n}", limit, 0.0)
        with pytest.raises(RateLimited):
            limits.of("busy", limit, 0.0).request(0.0)
    assert len(limits) == 10


def test_over_the_limit_in_the_words_of_both_protocols():
    client = RateLimits().of("a", RateLimit(requests_per_s=2, burst_s=1), 0.0)
    client.request(0.0)
    client.request(0.0)
    with pytest.raises(RateLimited) as over:
        client.request(0.0)
    reply = refusal(over.value)
    headers = dict(reply.headers)
    assert (reply.status, headers[b"retry-after"]) == (429, b"1")
    assert (headers[b"ratelimit"], headers[b"ratelimit-policy"]) == (b'"caller";r=0;t=1', b'"caller";q=2;w=1;qu="requests"')
    in_grpc = failure(over.value)
    assert in_grpc.code == "RESOURCE_EXHAUSTED"
    assert b"google.rpc.RetryInfo" in in_grpc.details
