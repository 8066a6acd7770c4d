"""What is sent to the API server is read there as YAML 1.1 where it is an apply body, as JSON elsewhere: both see the same texts."""

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from operators.backends.kube import PODS, Access, Kube, KubeError, encoded
from tests.fakes.apiserver.answering.texts import read_apply

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    [
        "\U0001f600 soon",
        "\u2028\u2029\x85",
        "\ufeff\ufffe\uffff",
        "\x7f\x9f\x00\t",
        "\\ud83d\\ude00",
        "y",
        "=",
        "1e3",
        "2026-11-28",
    ]
)


@given(TEXT)
def test_a_text_arrives_as_it_is_by_yaml_and_by_json(text: str):
    body = {"metadata": {"annotations": {"why": text}}, "list": [text, 1.5, None, True]}

    assert read_apply(encoded(body)) == body
    assert json.loads(encoded(body)) == body


@given(st.text(max_size=20))
def test_half_a_surrogate_pair_becomes_the_replacement_character(text: str):
    whole = {"why": "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)}

    assert json.loads(encoded({"why": text})) == whole == read_apply(encoded({"why": text}))


def test_surrogate_escapes_are_no_yaml():
    """What the API server says of what json.dumps writes of an emoji."""
    try:
        read_apply(json.dumps({"why": "\U0001f600"}).encode())
    except ValueError:
        return
    raise AssertionError("an apply body with surrogate escapes was read")


@pytest.mark.parametrize("body", [b"<html>sign in first</html>", b"\xff\xfe", b"[]"])
async def test_an_answer_that_no_api_server_gives_is_an_error_in_words(body: bytes):
    """Something between us and the API server answers in its place."""

    async def in_between(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="text/html")

    app = web.Application()
    app.router.add_get("/{path:.*}", in_between)
    async with TestServer(app) as server:
        reached = Access(str(server.make_url("")).rstrip("/"), None, lambda: None, None, "soc")
        async with Kube(reached, manager="test") as kube:
            with pytest.raises(KubeError, match=r"get .*/pods/a: the answer is not a JSON object"):
                await kube.get(PODS, "soc", "a")
