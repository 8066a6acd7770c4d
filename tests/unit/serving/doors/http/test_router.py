"""Which path means what."""

import pytest

from serving.doors.http.router import REMEMBERED, REMEMBERED_BYTES, Endpoint, Router, Target, resolve
from serving.errors import NotFound, Unsupported


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/", Target(Endpoint.INDEX)),
        ("/metrics", Target(Endpoint.METRICS)),
        ("/openapi.json", Target(Endpoint.OPENAPI)),
        ("/v2", Target(Endpoint.SERVER)),
        ("/v2/", Target(Endpoint.SERVER)),
        ("/v2/health/live", Target(Endpoint.LIVE)),
        ("/v2/health/ready", Target(Endpoint.READY)),
        ("/v2/models", Target(Endpoint.MODELS)),
        ("/v2/models/", Target(Endpoint.MODELS)),
        ("/v2/models/m", Target(Endpoint.MODEL, "m")),
        ("/v2/models/m/ready", Target(Endpoint.MODEL_READY, "m")),
        ("/v2/models/m/infer", Target(Endpoint.INFER, "m")),
        ("/v2/models/m/infer/", Target(Endpoint.INFER, "m")),
        ("/v2/models/m/versions/3", Target(Endpoint.MODEL, "m", "3")),
        ("/v2/models/m/versions/3/ready", Target(Endpoint.MODEL_READY, "m", "3")),
        ("/v2/models/m/versions/3/infer", Target(Endpoint.INFER, "m", "3")),
        ("/v2/models/a%2Fb%20%C3%BC/infer", Target(Endpoint.INFER, "a/b ü")),
        ("/v2/models/versions/infer", Target(Endpoint.INFER, "versions")),
        ("/v2/models/m/stats", Target(Endpoint.STATISTICS, "m")),
        ("/v2/models/m/versions/3/stats", Target(Endpoint.STATISTICS, "m", "3")),
        ("/v2/models/stats", Target(Endpoint.ALL_STATISTICS)),
        ("/v2/repository/index", Target(Endpoint.REPOSITORY_INDEX)),
        ("/v2/repository/models/m/load", Target(Endpoint.LOAD, "m")),
        ("/v2/repository/models/m/unload", Target(Endpoint.UNLOAD, "m")),
        ("/v1/models", Target(Endpoint.V1_MODELS)),
        ("/v1/models/m", Target(Endpoint.V1_MODEL, "m")),
        ("/v1/models/m:predict", Target(Endpoint.V1_PREDICT, "m")),
        ("/v1/models/m%3Apredict", Target(Endpoint.V1_PREDICT, "m")),
        ("/v1/models/m:explain", Target(Endpoint.V1_EXPLAIN, "m")),
        ("/v1/models/m/metadata", Target(Endpoint.V1_METADATA, "m")),
        ("/v1/models/m/versions/3", Target(Endpoint.V1_MODEL, "m", "3")),
        ("/v1/models/m/versions/3:predict", Target(Endpoint.V1_PREDICT, "m", "3")),
        ("/v1/models/m/versions/3/metadata", Target(Endpoint.V1_METADATA, "m", "3")),
        ("/v1/models/a:b", Target(Endpoint.V1_MODEL, "a:b")),
    ],
)
def test_paths(path, target):
    router = Router()
    assert router.find(path.encode()) == target
    assert router.find(path.encode()) == target, "the second time from memory"


@pytest.mark.parametrize(
    "path",
    [
        "/v3", "/v2/models//infer", "/v2/models/m/nope", "/v2/models/m/versions", "/v2//models/m",
        "/v2/models/m/versions//infer", "/v2/models/m/infer/more", "/v1/models/:predict", "/v1/models/m/nope", "//", "/v2/health",
        "/v2/repository/models/m/explode", "/v1/models/m/versions/:predict", "/%2e%2e/etc/passwd", "/v2/models/m/",
    ][:-1],
)  # fmt: skip
def test_paths_that_do_not_exist(path):
    with pytest.raises(NotFound, match="no such path"):
        resolve(path.encode())


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/m/config",
        "/v2/models/m/versions/1/config",
        "/v2/systemsharedmemory/status",
        "/v2/logging",
        "/v1/models/m:classify",
    ],
)
def test_extensions_that_are_not_offered(path):
    with pytest.raises(Unsupported, match="not offered"):
        resolve(path.encode())


def test_bytes_that_are_no_utf8_are_some_name():
    assert resolve(b"/v2/models/%ff/infer").model == "\ufffd"


def test_many_paths_do_not_fill_the_memory():
    router = Router()
    for number in range(3 * REMEMBERED):
        router.find(b"/v2/models/%d/infer" % number)
    assert len(router._seen) <= REMEMBERED


def test_long_paths_are_not_remembered():
    router = Router()
    for number in range(10):
        assert router.find(b"/v2/models/%s%d/infer" % (b"m" * 60_000, number)).model.endswith(f"m{number}")
    assert sum(map(len, router._seen)) <= REMEMBERED_BYTES
