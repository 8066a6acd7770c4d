"""YAML that people write: what PyYAML's safe loader reads, but no key twice in one mapping, as the last one would win silently."""

from collections.abc import Hashable
from typing import Any

import yaml

from serving.files import safe_yaml

_MERGE = "tag:yaml.org,2002:merge"


class _OnceLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) and key_node.tag != _MERGE else None
            if key is not None and key in seen:
                problem = f"the key {key!r} is there twice; leave one"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read_yaml(text: str) -> Any:
    """The document of a text. Raises yaml.YAMLError whatever is wrong with it."""
    return safe_yaml.read_yaml(text, _OnceLoader)
