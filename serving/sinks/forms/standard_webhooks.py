"""The signature of a webhook: Standard Webhooks 1.0.0 (https://www.standardwebhooks.com), scheme v1, so that its libraries verify it.

HMAC-SHA256 over `ID.TIMESTAMP.BODY` with a shared secret, in base64; TIMESTAMP is seconds since the epoch. Each secret of a rotation
gives one signature; the receiver accepts any."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE_S: Final = 300
"""How far the time of a message may be from the receiver's clock. Older ones may be replays."""
_PREFIX: Final = "whsec_"


def secret_bytes(text: str) -> bytes:
    """The key in a secret: base64 after `whsec_`, else the text itself. Raises ValueError."""
    if not text.startswith(_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error as problem:
        raise ValueError("after whsec_ a secret is base64") from problem


def sign(secrets: Sequence[bytes], message_id: str, now_s: int, body: bytes) -> dict[str, str]:
    """The headers of one message."""
    marks = (f"v1,{base64.b64encode(_mac(secret, message_id, now_s, body)).decode()}" for secret in secrets)
    return {ID: message_id, TIMESTAMP: str(now_s), SIGNATURE: " ".join(marks)}


def verify(secret: bytes, headers: dict[str, str], body: bytes, now_s: int) -> bool:
    """What a receiver does. headers: names in lower case."""
    try:
        message_id, sent_s = headers[ID], int(headers[TIMESTAMP])
        marks = headers[SIGNATURE].split()
    except (KeyError, ValueError):
        return False
    wanted = base64.b64encode(_mac(secret, message_id, sent_s, body)).decode()
    return abs(now_s - sent_s) <= TOLERANCE_S and any(
        hmac.compare_digest(mark.encode(), f"v1,{wanted}".encode()) for mark in marks
    )


def _mac(secret: bytes, message_id: str, now_s: int, body: bytes) -> bytes:
    return hmac.new(secret, f"{message_id}.{now_s}.".encode() + body, hashlib.sha256).digest()
