"""How long ago something was, in words. Pure."""

from datetime import datetime, timedelta

from operators.values import format_duration


def ago(at: datetime, now: datetime) -> str:
    """How long ago, in one unit or two."""
    return f"{format_duration(timedelta(seconds=max(0, int((now - at).total_seconds()))))} ago"
