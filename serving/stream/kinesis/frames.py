"""Headers, and keys that Kinesis cannot hold, in front of a record's data. A record without them is its data alone. Pure.

    b"VDT1", length of the head (4 bytes, big-endian), head, data

The head is MessagePack: `h` names and values of headers, `k` the key where the partition key is another one, `n` that there are no data."""

from typing import Final, NamedTuple

import msgspec

from serving.stream.ports import RecordHeaders

MAGIC: Final = b"VDT1"
MOST_KEY: Final = 256
"""Characters of a partition key."""


class _Head(msgspec.Struct, frozen=True, omit_defaults=True):
    h: tuple[tuple[str, bytes], ...] = ()
    k: bytes | msgspec.UnsetType | None = msgspec.UNSET
    n: bool = False


class Unframed(NamedTuple):
    """What a record says."""

    value: bytes | None
    key: bytes | None
    headers: RecordHeaders


def partition_key(key: bytes | None, otherwise: str) -> str:
    """The key as Kinesis holds it; `otherwise` where it cannot."""
    try:
        text = (key or b"").decode()
    except UnicodeDecodeError:
        return otherwise
    return text if 0 < len(text) <= MOST_KEY and text.isprintable() else otherwise


def framed(value: bytes | None, key: bytes | None, headers: RecordHeaders, sent_key: str) -> bytes:
    """The data of a record.

    >>> unframed(framed(b"v", b"k", (("a", b"1"),), "k"), "k")
    Unframed(value=b'v', key=b'k', headers=(('a', b'1'),))
    >>> framed(b"v", b"k", (), "k")
    b'v'
    """
    is_same = key is not None and key == sent_key.encode()
    if value is not None and is_same and not headers and not value.startswith(MAGIC):
        return value
    head = msgspec.msgpack.encode(_Head(headers, msgspec.UNSET if is_same else key, value is None))
    return MAGIC + len(head).to_bytes(4, "big") + head + (value or b"")


def unframed(data: bytes, sent_key: str) -> Unframed:
    """The record of these data. What looks like a frame and is none is taken as data."""
    if data.startswith(MAGIC):
        end = 8 + int.from_bytes(data[4:8], "big")
        try:
            head = msgspec.msgpack.decode(data[8:end], type=_Head)
        except msgspec.DecodeError:
            pass
        else:
            key = sent_key.encode() if head.k is msgspec.UNSET else head.k
            return Unframed(None if head.n else data[end:], key, head.h)
    return Unframed(data, sent_key.encode(), ())
