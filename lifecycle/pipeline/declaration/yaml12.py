"""YAML 1.2 as DVC reads and writes it.

PyYAML follows YAML 1.1: it takes `on` for true, 010 for 8 and 1e-3 for a text. DVC would then see other parameters than we do."""

import re
from typing import Any, Final

import yaml

from lifecycle.pipeline.errors import PipelineFileError
from serving.files.safe_yaml import read_yaml

_BOOL: Final = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_FLOAT: Final = re.compile(
    r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_INT: Final = re.compile(r"^(?:[-+]?0b[0-1_]+|[-+]?0o[0-7_]+|[-+]?[0-9][0-9_]*|[-+]?0x[0-9a-fA-F_]+)$")
_BASES: Final = {"0b": 2, "0o": 8, "0x": 16}
_REPLACED: Final = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "int"))


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars; a key that stands twice is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
            seen.add(key if isinstance(key, str | int) else id(key_node))
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes a text that either version of YAML would take for something else. No aliases: DVC writes none."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _int(loader: Any, node: Any) -> int:
    text = str(loader.construct_scalar(node)).replace("_", "")
    sign, digits = (-1 if text.startswith("-") else 1), text.lstrip("+-")
    base = _BASES.get(digits[:2], 10)
    return sign * int(digits[2:] if base != 10 else digits, base)


def _float(loader: Any, node: Any) -> float:
    text = str(loader.construct_scalar(node)).replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _resolving in (_Loader, _Dumper):
    _resolving.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOL, list("tTfF"))
    _resolving.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
    _resolving.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
_Loader.add_constructor("tag:yaml.org,2002:int", _int)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)


def load_yaml(text: str, where: str) -> Any:
    """The value of one document. Raises PipelineFileError."""
    try:
        return read_yaml(text, _Loader)
    except yaml.YAMLError as problem:
        raise PipelineFileError(f"{where}: is not YAML: {' '.join(str(problem).split())}") from problem


def dump_yaml(value: Any) -> str:
    """A document in block style, keys in their order."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False))
