"""Reads SIGMA files into rules. Only this module and that of correlations use pySigma; its types become values of tree.

pySigma resolves most modifiers as it parses; the types that can remain are handled here. Rules that are not supported are returned with
the reason: placeholders without values, aggregations and timeframes, filters, regular expressions that RE2 cannot run in linear time."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml
from sigma.conditions import (
    ConditionAND,
    ConditionIdentifier,
    ConditionItem,
    ConditionNOT,
    ConditionOR,
    ConditionSelector,
)
from sigma.exceptions import SigmaError
from sigma.modifiers import (
    SigmaBase64Modifier,
    SigmaBase64OffsetModifier,
    SigmaCaseSensitiveModifier,
    SigmaEndswithModifier,
    SigmaModifier,
    SigmaStartswithModifier,
    SigmaUTF16BEModifier,
    SigmaUTF16Modifier,
    SigmaWideModifier,
    modifier_mapping,
)
from sigma.policy import SigmaPolicy
from sigma.policy.regex_engine import RE2RegexEngine
from sigma.rule import SigmaDetection, SigmaDetectionItem, SigmaDetections
from sigma.rule import SigmaRule as ParsedRule
from sigma.rule.base import SigmaYAMLLoader, check_alias_expansion
from sigma.types import (
    CompareOperators,
    Placeholder,
    SigmaBool,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaRegularExpressionFlag,
    SigmaString,
    SigmaTimestampPart,
    SigmaType,
    SpecialChars,
)

from serving.files.safe_yaml import read_documents
from serving.rules import tree
from serving.rules.correlation.parse import CorrelationError, parse_correlation
from serving.rules.correlation.resolve import CorrelationDocument, CorrelationSet, resolve
from serving.rules.patterns import check_pattern, compile_pattern, escape

MAX_RULE_BYTES: Final = 256 * 1024
MAX_LEAVES: Final = 20_000
"""Values of one rule after its modifiers have multiplied them."""
_LEVELS: Final = ("informational", "low", "medium", "high", "critical")
_RELATIONS: Final[dict[CompareOperators, tree.Relation]] = {
    CompareOperators.LT: "<",
    CompareOperators.LTE: "<=",
    CompareOperators.GT: ">",
    CompareOperators.GTE: ">=",
    CompareOperators.NEQ: "!=",
}
_FLAGS: Final = {
    SigmaRegularExpressionFlag.IGNORECASE: "i",
    SigmaRegularExpressionFlag.MULTILINE: "m",
    SigmaRegularExpressionFlag.DOTALL: "s",
}


class _QuietEngine(RE2RegexEngine):
    """pySigma's own engine, without its messages on standard error about expressions it refuses."""

    def compile(self, pattern: str, flags: int = 0) -> Any:
        letters = "".join(letter for flag, letter in _INLINE.items() if flags & flag)
        return compile_pattern(f"(?{letters}){pattern}" if letters else pattern)


_INLINE: Final = {re.IGNORECASE: "i", re.MULTILINE: "m", re.DOTALL: "s"}
_POLICY: Final = SigmaPolicy(regex_engine=_QuietEngine())
modifier_mapping.setdefault("utf16le", SigmaWideModifier)  # SIGMA's own name of `wide`, which pySigma does not know
_ENCODINGS: Final = {SigmaWideModifier: "utf16le", SigmaUTF16BEModifier: "utf16be", SigmaUTF16Modifier: "utf16"}
_BASE64: Final = (SigmaBase64Modifier, SigmaBase64OffsetModifier)
Placeholders = Mapping[str, Sequence[str]]


class _NotSupported(Exception):
    """The rule is not supported; the message is the reason."""


@dataclass(frozen=True, slots=True)
class ParsedFiles:
    """What SIGMA files hold. unsupported: what cannot be matched, with the reason."""

    rules: tuple[tree.SigmaRule, ...]
    correlations: CorrelationSet
    unsupported: tuple[tree.UnsupportedRule, ...]


def parse_sigma(files: Iterable[tuple[str, str | bytes]], placeholders: Placeholders | None = None) -> ParsedFiles:
    """Read YAML files, given as (path, content). placeholders: values of %names%."""
    rules: list[tree.SigmaRule] = []
    correlations: list[CorrelationDocument] = []
    unsupported: list[tree.UnsupportedRule] = []
    seen: dict[str, str] = {}
    names: dict[str, list[str]] = {}
    for path, content in files:
        for number, document in enumerate(_documents(path, content, unsupported)):
            identity = str(document.get("id") or (path if number == 0 else f"{path}#{number + 1}"))
            title = str(document.get("title") or "")
            name = None if document.get("name") is None else str(document["name"])
            try:
                if identity in seen:
                    raise _NotSupported(f"its id is the same as that of {seen[identity]}; give it another id")
                if name is not None:
                    names.setdefault(name, []).append(identity)
                if "correlation" in document:
                    parsed, techniques = parse_correlation(document), _techniques(document)
                    correlations.append(CorrelationDocument(identity, name, path, techniques, parsed))
                else:
                    rules.append(_rule(document, identity, path, placeholders or {}))
                seen[identity] = path
            except (
                _NotSupported,
                CorrelationError,
                SigmaError,
                TypeError,
                ValueError,
                AttributeError,
                RecursionError,
            ) as problem:
                unsupported.append(tree.UnsupportedRule(identity, title, path, _reason(problem)))
    found, unresolved = resolve(correlations, rules, names)
    return ParsedFiles(tuple(rules), found, (*unsupported, *unresolved))


def _documents(path: str, content: str | bytes, unsupported: list[tree.UnsupportedRule]) -> Iterator[Mapping[str, Any]]:
    """The documents of a file. A file that cannot be read is added to `unsupported`."""
    try:
        body = content.encode() if isinstance(content, str) else content
        if len(body) > MAX_RULE_BYTES:
            raise _NotSupported(f"the file is larger than {MAX_RULE_BYTES} bytes")
        text = _decoded(body)
        documents = read_documents(text, SigmaYAMLLoader)  # pySigma's is a safe loader that refuses repeated keys
        for document in documents:
            check_alias_expansion(document)
            if document is not None and not isinstance(document, dict):
                raise _NotSupported("it is not a YAML map")
    except (yaml.YAMLError, ValueError, SigmaError, _NotSupported, RecursionError) as problem:
        unsupported.append(tree.UnsupportedRule(path, "", path, _reason(problem)))
        return
    if not any(documents):
        unsupported.append(tree.UnsupportedRule(path, "", path, "the file is empty"))
    yield from (document for document in documents if document)


def _decoded(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as problem:
        raise _NotSupported("it is not UTF-8 text") from problem


def _reason(problem: Exception) -> str:
    if isinstance(problem, RecursionError):
        return "it is nested too deeply"
    return " ".join(str(problem).split())[:400] or type(problem).__name__


def _rule(document: Mapping[str, Any], identity: str, path: str, placeholders: Placeholders) -> tree.SigmaRule:
    if "filter" in document:
        raise _NotSupported("it is a filter of other rules; write its condition into them")
    if "action" in document:
        raise _NotSupported("it is a collection with `action:`; write each rule out")
    detection = document.get("detection")
    if isinstance(detection, dict) and "timeframe" in detection:
        raise _NotSupported("it has a timeframe; SIGMA gave that up, write a correlation instead")
    parsed = ParsedRule.from_dict(dict(document), policy=_POLICY)
    detections = parsed.detection
    reader = _Reader(detections, placeholders)
    conditions = [reader.condition(c.parse(postprocess=False)) for c in detections.parsed_condition]
    level = parsed.level.name.lower() if parsed.level is not None else "medium"
    if level not in _LEVELS:
        raise _NotSupported(f"its level is {level!r}, expected one of {list(_LEVELS)}")
    source = tree.LogSource(
        *[
            v.lower() if v is not None else None
            for v in (parsed.logsource.product, parsed.logsource.category, parsed.logsource.service)
        ]
    )
    when = conditions[0] if len(conditions) == 1 else tree.AnyOf(tuple(conditions))
    name = None if document.get("name") is None else str(document["name"])
    return tree.SigmaRule(identity, parsed.title, level, source, when, path, _techniques(document), name)


def _techniques(document: Mapping[str, Any]) -> tuple[str, ...]:
    tags = document.get("tags")
    return tree.techniques_of(tags) if isinstance(tags, list) else ()


class _Reader:
    """Turns the parsed condition and detections of one rule into nodes."""

    def __init__(self, detections: SigmaDetections, placeholders: Placeholders) -> None:
        self._detections, self._placeholders = detections, placeholders
        self._leaves = 0

    def condition(self, item: Any) -> tree.Node:
        if isinstance(item, ConditionIdentifier):
            return self._named(item.identifier)
        if isinstance(item, ConditionSelector):
            named = [self._named(i.identifier) for i in item.resolve_referenced_detections(self._detections)]
            if not named:
                raise _NotSupported(f"`{item.args[0]} of {item.pattern}` matches no detection")
            return _joined(named, ConditionAND if item.cond_class is ConditionAND else ConditionOR)
        if isinstance(item, ConditionNOT):
            return tree.Not(self.condition(item.args[0]))
        if isinstance(item, (ConditionAND, ConditionOR)):
            return _joined([self.condition(part) for part in item.args], type(item))
        raise _NotSupported(f"its condition has a {type(item).__name__}")

    def _named(self, name: str) -> tree.Node:
        if name not in self._detections.detections:
            raise _NotSupported(f"its condition names {name!r}, which is not one of its detections")
        return self._detection(self._detections.detections[name])

    def _detection(self, detection: SigmaDetection) -> tree.Node:
        parts = [self._item(i) if isinstance(i, SigmaDetectionItem) else self._detection(i) for i in detection.detection_items]
        return _joined(parts, detection.item_linking or ConditionAND)

    def _item(self, item: SigmaDetectionItem) -> tree.Node:
        _check_encodings(item.field, item.modifiers)
        values = item.value or [SigmaNull()]
        node = _joined([self._value(item, value) for value in values], item.value_linking)
        return tree.Not(node) if item.negated else node

    def _value(self, item: SigmaDetectionItem, value: SigmaType) -> tree.Node:
        self._leaves += 1
        if self._leaves > MAX_LEAVES:
            raise _NotSupported(f"its modifiers expand its values to more than {MAX_LEAVES}; write fewer values")
        if isinstance(value, SigmaExpansion):
            return _joined([self._value(item, one) for one in value.values], ConditionOR)
        if isinstance(value, SigmaString):
            is_cased = SigmaCaseSensitiveModifier in item.modifiers
            return _joined([_text(item.field, text, cased=is_cased) for text in self._filled(value)], ConditionOR)
        if isinstance(value, SigmaRegularExpression):
            return _joined([_regex(item, value, str(text)) for text in self._filled(value.regexp)], ConditionOR)
        return _other(item.field, value)

    def _filled(self, text: SigmaString) -> list[SigmaString]:
        """The text with its placeholders replaced by each of their values."""
        missing = {p.name for p in text.s if isinstance(p, Placeholder)} - set(self._placeholders)
        if missing:
            raise _NotSupported(f"placeholders {sorted(missing)} have no values; give them under `placeholders`")
        if not text.contains_placeholder():
            return [text]
        return text.replace_placeholders(lambda p: iter(SigmaString(v, escape=False) for v in self._placeholders[p.name]))


def _check_encodings(field: str | None, modifiers: Sequence[type[SigmaModifier[Any, Any]]]) -> None:
    """Encoded text is bytes; only their base64 stands in an event."""
    for number, modifier in enumerate(modifiers):
        if modifier in _ENCODINGS and not any(m in _BASE64 for m in modifiers[number + 1 :]):
            where, encoding = "of a keyword" if field is None else f"of field {field!r}", _ENCODINGS[modifier]  # type: ignore[index]
            raise _NotSupported(
                f"the chain of modifiers {where} ends in the encoding {encoding} and can never match: events hold text, and encoded "
                f"text is bytes; follow the encoding by base64, as in {field or ''}|{encoding}|base64offset|contains"
            )


def _joined(parts: list[tree.Node], how: type[ConditionItem]) -> tree.Node:
    if len(parts) == 1:
        return parts[0]
    return tree.AllOf(tuple(parts)) if how is ConditionAND else tree.AnyOf(tuple(parts))


def _text(field: str | None, text: SigmaString, *, cased: bool) -> tree.Node:
    """A text with its wildcards. As a keyword it may stand anywhere in a value."""
    parts = list(text.s)
    is_open_left = is_open_right = field is None
    while parts and parts[0] is SpecialChars.WILDCARD_MULTI:
        is_open_left = bool(parts.pop(0))
    while parts and parts[-1] is SpecialChars.WILDCARD_MULTI:
        is_open_right = bool(parts.pop())
    if not parts and field is not None and (is_open_left or is_open_right):
        return tree.Exists(field, there=True)
    if len(parts) > 1 or any(not isinstance(p, str) for p in parts):
        return _wildcards(field, parts, is_open_left, is_open_right, cased=cased)
    value = str(parts[0]) if parts else ""
    how: tree.How = "is"
    if is_open_left or is_open_right:
        how = "contains" if is_open_left and is_open_right else "ends" if is_open_left else "starts"
    return tree.Text(field, how, value if cased else value.lower(), cased)


def _wildcards(field: str | None, parts: list[Any], is_open_left: bool, is_open_right: bool, *, cased: bool) -> tree.Pattern:
    wild = {SpecialChars.WILDCARD_MULTI: ".*", SpecialChars.WILDCARD_SINGLE: "."}
    folded = [p if cased or not isinstance(p, str) else p.lower() for p in parts]
    body = "".join(escape(p) if isinstance(p, str) else wild[p] for p in folded)
    expression = "(?s)" + ("" if is_open_left else r"\A") + body + ("" if is_open_right else r"\z")
    literals = tuple(p.lower() for p in parts if isinstance(p, str))
    return tree.Pattern(field, check_pattern(expression), cased, literals)


def _regex(item: SigmaDetectionItem, value: SigmaRegularExpression, expression: str) -> tree.Pattern:
    """A regular expression is searched for: anchors are the rule's own, or those of startswith and endswith."""
    flags = "".join(sorted(_FLAGS[flag] for flag in value.flags))
    if SigmaStartswithModifier in item.modifiers:
        expression = rf"\A(?:{expression})"
    if SigmaEndswithModifier in item.modifiers:
        expression = rf"(?:{expression})\z"
    return tree.Pattern(item.field, check_pattern(f"(?{flags})({expression})" if flags else expression), True)


def _other(field: str | None, value: SigmaType) -> tree.Node:
    if isinstance(value, SigmaTimestampPart):
        return tree.Number(_needed(field), "==", value.number, value.timestamp_part.name.lower())
    if isinstance(value, (SigmaNumber, SigmaBool)):
        return tree.Text(field, "contains" if field is None else "is", str(value).lower())
    field = _needed(field)
    if isinstance(value, SigmaNull):
        return tree.Exists(field, there=False)
    if isinstance(value, SigmaExists):
        return tree.Exists(field, there=value.exists)
    if isinstance(value, SigmaCIDRExpression):
        return tree.InNetwork(field, value.network)
    if isinstance(value, SigmaCompareExpression):
        part = value.number.timestamp_part.name.lower() if isinstance(value.number, SigmaTimestampPart) else None
        return tree.Number(field, _RELATIONS[value.op], value.number.number, part)
    if isinstance(value, SigmaFieldReference):
        hows: dict[tuple[bool, bool], tree.How] = {
            (False, False): "is",
            (True, False): "starts",
            (False, True): "ends",
            (True, True): "contains",
        }
        return tree.SameAs(field, hows[value.starts_with, value.ends_with], value.field)
    raise _NotSupported(f"a {type(value).__name__} cannot be matched")


def _needed(field: str | None) -> str:
    if field is None:
        raise _NotSupported("a keyword has a value that needs a field")
    return field
