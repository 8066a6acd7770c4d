"""YAML as Kubernetes reads it: into JSON values only, so that a date is a text, `=` is one too, and 1e-08 is a number."""

import re
from typing import Any, Final

import orjson
import yaml


class _Loader(yaml.CSafeLoader):
    pass


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")]
    for first, found in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+"), list("-+0123456789"))


def read_yaml(text: str | bytes) -> Any:
    """One document; raises yaml.YAMLError."""
    return yaml.load(text, _Loader)


_NO_PLAIN_JSON: Final = re.compile(rb'[^\n\r -~]|\\u[dD][89a-fA-F]|"[^"]{1000,}"\s*:')
"""What YAML reads otherwise than JSON, or not at all: bytes beyond ASCII, surrogate escapes, keys of 1,024 characters."""


def read_apply(body: bytes) -> Any:
    """An apply body, which is YAML 1.1 also where it looks like JSON. Raises ValueError."""
    if body.lstrip()[:1] == b"{" and not _NO_PLAIN_JSON.search(body):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    try:
        return read_yaml(body)
    except yaml.YAMLError as problem:
        raise ValueError(str(problem)) from problem


def read_all(text: str | bytes) -> list[Any]:
    """All documents of a text."""
    return list(yaml.load_all(text, _Loader))
