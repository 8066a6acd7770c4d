"""The id and the signature of an alert's webhook; how messages are signed is in serving.sinks.forms.standard_webhooks."""

from serving.sinks.alert import SinkAlert, digest_id
from serving.sinks.forms.standard_webhooks import ID, SIGNATURE, TIMESTAMP, TOLERANCE_S, secret_bytes, sign, verify

__all__ = ["ID", "SIGNATURE", "TIMESTAMP", "TOLERANCE_S", "secret_bytes", "sign", "verify", "webhook_id"]


def webhook_id(alert: SinkAlert) -> str:
    """The id of a message: plain letters and digits, because a full stop divides the signed text."""
    return f"alert_{digest_id(alert.id)}"
