"""SIGMA the slow and obvious way, straight over the parsed YAML: what the compiled matcher must agree with.

Written from the specification, not from the matcher: no index, no shared parser, no merging. A subset: field and keyword searches,
lists, maps, wildcards, contains, startswith, endswith, all, re, cased, exists, windash, fieldref, lt/lte/gt/gte, null, conditions."""

import fnmatch
import re

DASHES = "-/\u2013\u2014\u2015"


def matches(detection, event):
    """Whether an event (field -> value or list) meets a rule's detection."""
    tokens = re.findall(r"\(|\)|[^\s()]+", detection["condition"])
    value, rest = _or(tokens, detection, event)
    assert not rest, rest
    return value


def _or(tokens, detection, event):
    value, tokens = _and(tokens, detection, event)
    while tokens and tokens[0] == "or":
        other, tokens = _and(tokens[1:], detection, event)
        value = value or other
    return value, tokens


def _and(tokens, detection, event):
    value, tokens = _not(tokens, detection, event)
    while tokens and tokens[0] == "and":
        other, tokens = _not(tokens[1:], detection, event)
        value = value and other
    return value, tokens


def _not(tokens, detection, event):
    if tokens[0] == "not":
        value, tokens = _not(tokens[1:], detection, event)
        return not value, tokens
    if tokens[0] == "(":
        value, tokens = _or(tokens[1:], detection, event)
        assert tokens[0] == ")"
        return value, tokens[1:]
    if tokens[0] in ("1", "any", "all") and tokens[1] == "of":
        names = [n for n in detection if n != "condition" and (tokens[2] == "them" or fnmatch.fnmatchcase(n, tokens[2]))]
        found = [search(detection[n], event) for n in names]
        return (all(found) if tokens[0] == "all" else any(found)), tokens[3:]
    return search(detection[tokens[0]], event), tokens[1:]


def search(definition, event):
    """A map: all its items; a list: any; a value: a keyword."""
    if isinstance(definition, dict):
        return all(_item(key, value, event) for key, value in definition.items())
    if isinstance(definition, list):
        return any(search(one, event) for one in definition)
    return _item("", definition, event)


def _item(key, values, event):
    field, *modifiers = key.split("|")
    values = values if isinstance(values, list) else [values]
    results = [_value(field, modifiers, value, event) for value in values]
    return all(results) if "all" in modifiers else any(results)


def _value(field, modifiers, wanted, event):
    if not field:
        return any(_one(_keyword(wanted, modifiers), modifiers, str(v)) for value in event.values() for v in _each(value))
    there = event.get(field)
    if "exists" in modifiers:
        return (there is not None) is wanted
    if wanted is None:
        return there is None
    if there is None:
        return False
    if "fieldref" in modifiers:
        return any(str(a).lower() == str(b).lower() for a in _each(there) for b in _each(event.get(wanted, [])))
    for name, compare in (("lte", float.__le__), ("gte", float.__ge__), ("lt", float.__lt__), ("gt", float.__gt__)):
        if name in modifiers:
            return any(compare(float(v), float(wanted)) for v in _each(there) if re.fullmatch(r"-?\d+(\.\d+)?", str(v)))
    return any(_one(wanted, modifiers, str(v)) for v in _each(there))


def _each(value):
    return value if isinstance(value, list) else [value]


def _keyword(wanted, modifiers):
    return wanted if "re" in modifiers else f"*{wanted}*"


def _one(wanted, modifiers, value):
    wanted = str(wanted)
    if "re" in modifiers:
        flags = (re.I if "i" in modifiers else 0) | (re.S if "s" in modifiers else 0) | (re.M if "m" in modifiers else 0)
        return re.search(wanted, value, flags) is not None
    variants = [wanted]
    if "windash" in modifiers:
        pieces = re.split(r"\B[-/]\b", wanted)
        variants = [pieces[0]]
        for piece in pieces[1:]:
            variants = [v + dash + piece for v in variants for dash in DASHES]
    for variant in variants:
        parts = _parts(variant)
        if {"contains", "endswith"} & set(modifiers):
            parts = ["*", *parts]
        if {"contains", "startswith"} & set(modifiers):
            parts = [*parts, "*"]
        if _wild(parts, value, cased="cased" in modifiers):
            return True
    return False


def _parts(text):
    """Characters; "*" and "?" where they are wild, ("c",) for a character that is itself."""
    parts, i = [], 0
    while i < len(text):
        if text[i] == "\\" and text[i + 1 : i + 2] in ("*", "?", "\\") and text[i + 1 : i + 2]:
            parts.append((text[i + 1],))
            i += 2
        else:
            parts.append(text[i] if text[i] in "*?" else (text[i],))
            i += 1
    return parts


def _wild(parts, value, *, cased):
    """Dynamic programming over (parts, characters)."""
    letters = [_folded(letter, cased) for letter in value]
    reach = {0}
    for part in parts:
        if not reach:
            return False
        if part == "*":
            reach = set(range(min(reach), len(value) + 1))
        elif part == "?":
            reach = {i + 1 for i in reach if i < len(value)}
        else:
            wanted = _folded(part[0], cased)
            reach = {i + 1 for i in reach if i < len(value) and letters[i] == wanted}
    return len(value) in reach


def _folded(letter, cased):
    return letter if cased else letter.lower()
