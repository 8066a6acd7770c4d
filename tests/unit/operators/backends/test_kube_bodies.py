"""What is sent to the API server is read there as YAML 1.1 where it is an apply body, as JSON elsewhere: both see the same texts."""

import json

from hypothesis import given
from hypothesis import strategies as st

from operators.backends.kube import encoded
from tests.fakes.apiserver.texts import read_apply

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
