"""A reader of CEF and of RFC 5424, written from the guides and not from the writers."""

import re


def read_cef(text: str) -> tuple[list[str], dict[str, str]]:
    """The seven values of the header, and the extension."""
    assert text.startswith("CEF:")
    parts = _split(text[4:], 7)
    head = [re.sub(r"\\([\\|])", r"\1", part) for part in parts[:7]]
    found = {}
    keys = list(re.finditer(r"(?:^| )([A-Za-z0-9_.]+)=", parts[7]))
    for key, following in zip(keys, [*keys[1:], None], strict=True):
        raw = parts[7][key.end() : following.start() if following else None]
        found[key.group(1)] = re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r"}.get(m[1], m[1]), raw)
    return head, found


def _split(text: str, times: int) -> list[str]:
    parts, current, at = [], "", 0
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text) and len(parts) < times:
            current += text[at : at + 2]
            at += 2
        elif text[at] == "|" and len(parts) < times:
            parts.append(current)
            current, at = "", at + 1
        else:
            current += text[at]
            at += 1
    return [*parts, current]


HEADER = re.compile(
    rb"<(?P<pri>\d{1,3})>1 (?P<time>\S+) (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<proc>[!-~]{1,128}) (?P<id>[!-~]{1,32}) "
)


def read_syslog(message: bytes) -> tuple[dict[str, str], dict[str, str], str]:
    """The header, the values of the one element of structured data, the text."""
    found = HEADER.match(message)
    assert found is not None, message[:200]
    rest = message[found.end() :].decode("utf-8")
    element = re.match(r"\[(\S+)((?: [^ =\]\"]{1,32}=\"(?:[^\"\\\]]|\\.)*\")*)\] ", rest)
    assert element is not None, rest[:200]
    values = {
        name: re.sub(r"\\([\"\\\]])", r"\1", value)
        for name, value in re.findall(r" ([^ =\]\"]+)=\"((?:[^\"\\\]]|\\.)*)\"", element[2])
    }
    text = rest[element.end() :]
    return {name: value.decode() for name, value in found.groupdict().items()}, values, text.removeprefix("\ufeff")
