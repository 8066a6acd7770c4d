"""Syslog messages: RFC 5424, framed for TCP and TLS by octet counting (RFC 6587 section 3.4.1, RFC 5425 section 4.3)."""

import re
from typing import Final

from serving.sinks.alert import SinkAlert
from serving.sinks.forms.options import FormOptions
from serving.sinks.text import clean, rfc3339

APP_NAME: Final = "vedette"
MSG_ID: Final = "ALERT"
BOM: Final = b"\xef\xbb\xbf"
_SEVERITIES: Final = {"critical": 2, "high": 3, "medium": 4, "low": 5, "informational": 6}
_NOT_PRINTED: Final = re.compile(r"[^!-~]")


def syslog(alert: SinkAlert, text: str | bytes, options: FormOptions) -> bytes:
    """One message. The BOM stands before a text that is not all ASCII (RFC 5424 section 6.4)."""
    body = text.encode("utf-8", "replace") if isinstance(text, str) else text
    priority = options.facility * 8 + _SEVERITIES[alert.message.severity]
    head = f"<{priority}>1 {rfc3339(alert.scored_us)} {_name(options.hostname, 255)} {APP_NAME} - {MSG_ID} {_data(alert, options)} "
    return head.encode("utf-8") + (BOM if options.has_bom and not body.isascii() else b"") + body


def frame(message: bytes) -> bytes:
    """The message with its length before it.

    >>> frame(b"<13>1 -")
    b'7 <13>1 -'
    """
    return b"%d %s" % (len(message), message)


def _data(alert: SinkAlert, options: FormOptions) -> str:
    verdict = alert.message.verdict
    values = {
        "id": alert.id,
        "model": verdict.model,
        "version": verdict.version,
        "receipt": f"{verdict.receipt}/{verdict.row}",
        "entity": alert.entity,
    }
    return f"[vedette@{options.enterprise_id} " + " ".join(f'{name}="{_value(text)}"' for name, text in values.items()) + "]"


def _value(text: str) -> str:
    """A PARAM-VALUE (RFC 5424 section 6.3.3): quote, backslash and closing bracket are escaped. Control characters are replaced, because
    receivers that read lines would break there."""
    kept = re.sub(r"[\x00-\x1f\x7f-\x9f]", "\ufffd", clean(text, 200))
    return kept.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _name(text: str, most: int) -> str:
    return _NOT_PRINTED.sub("", text)[:most] or "-"
