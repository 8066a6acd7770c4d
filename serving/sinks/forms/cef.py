"""CEF, version 0: the Common Event Format of ArcSight, "Implementing ArcSight Common Event Format", revision 27.

In the header a bar and a backslash are escaped and line breaks are not allowed; in the extension a backslash and an equals sign are
escaped, and line breaks are written as `\\n` and `\\r`. Lengths are at most those of the guide's dictionary."""

import re
from typing import Any, Final

from serving.sinks.alert import SinkAlert, digest_id, microseconds
from serving.sinks.forms.options import PRODUCT, VENDOR, FormOptions, observe, techniques
from serving.sinks.text import REPLACEMENT, clean, listed, one_line

_SEVERITIES: Final = {"informational": 1, "low": 3, "medium": 5, "high": 8, "critical": 10}
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters but line feed and carriage return, which the guide has escapes for."""


def header(text: str) -> str:
    r"""A value of the header.

    >>> header("a|b\\c\nd")
    'a\\|b\\\\c d'
    """
    return one_line(text, 512).replace("\\", "\\\\").replace("|", "\\|")


def value(text: str, most: int = 1023) -> str:
    r"""A value of the extension, of at most `most` characters before it is escaped.

    >>> value("a=b\nc|d")
    'a\\=b\\nc|d'
    """
    plain = _CONTROL.sub(REPLACEMENT, clean(text, most)).strip(" ")
    return plain.replace("\\", "\\\\").replace("=", "\\=").replace("\n", "\\n").replace("\r", "\\r")


def cef(alert: SinkAlert, options: FormOptions) -> str:
    """One CEF message without a syslog header."""
    message, verdict = alert.message, alert.message.verdict
    ids = techniques(alert)
    signature = next(iter(verdict.rules), None) or (ids[0] if ids else verdict.model)
    parts = [
        "CEF:0", header(VENDOR), header(PRODUCT), header(options.version), header(signature) or "alert",
        header(message.title) or "alert", str(_SEVERITIES[message.severity]),
    ]  # fmt: skip
    return "|".join([*parts, " ".join(f"{name}={text}" for name, text in _extension(alert, options).items())])


def _extension(alert: SinkAlert, options: FormOptions) -> dict[str, str]:
    verdict, seen = alert.message.verdict, observe(alert, options)
    found: dict[str, Any] = {
        "rt": alert.scored_us // 1000,
        "start": alert.time_us // 1000,
        "externalId": digest_id(alert.id),
        "cat": verdict.source,
        "act": verdict.verdict,
        "src": seen.source_ip,
        "spt": seen.source_port,
        "shost": seen.source_host,
        "dst": seen.destination_ip,
        "dpt": seen.destination_port,
        "dhost": seen.destination_host,
        "proto": seen.protocol and seen.protocol.upper(),
        "suser": seen.user,
        "dvchost": seen.host,
    }
    for number, (label, text) in enumerate(
        (
            ("model", f"{verdict.model}/{verdict.version}"),
            ("techniques", " ".join(techniques(alert))),
            ("rules", " ".join(listed(verdict.rules))),
            ("entity", alert.entity),
            ("receipt", f"{verdict.receipt}/{verdict.row}"),
            ("alertId", alert.id),
        ),
        start=1,
    ):
        if text:
            found |= {f"cs{number}Label": label, f"cs{number}": (text, 500)}
    if verdict.probability is not None:
        found |= {"cfp1Label": "probability", "cfp1": f"{verdict.probability:.6g}"}
    if verdict.score is not None:
        found |= {"cfp2Label": "score", "cfp2": f"{verdict.score:.6g}"}
    if alert.folded is not None:
        folded = alert.folded
        found |= {
            "start": microseconds(folded.first_time) // 1000,
            "end": microseconds(folded.last_time) // 1000,
            "cnt": folded.count,
            "reason": folded.kind,
        }
    flags = [name for name in ("degraded", "late", "sketched") if getattr(verdict, name)]
    if flags:
        found |= {"flexString1Label": "flags", "flexString1": " ".join(flags)}
    found["msg"] = alert.message.title
    return {
        name: value(*(item if isinstance(item, tuple) else (str(item),))) for name, item in found.items() if item is not None
    }
