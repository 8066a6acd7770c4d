"""YAML as Kubernetes reads it: into JSON values only, so that a date is a text, `=` is one too, and 1e-08 is a number."""

import re
from typing import Any

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


def read_all(text: str | bytes) -> list[Any]:
    """All documents of a text."""
    return list(yaml.load_all(text, _Loader))
