"""Which node of a Redis Cluster has a key. Core: no connection in it.

Source: redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec (slots, hash tags, redirections)."""

from binascii import crc_hqx
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

SLOTS: Final = 16_384
_POLYNOMIAL: Final = 0x1021
_PROOF: Final = b"vedette:"
NodePlace = tuple[str, int]
"""Host and port of a node."""


def slot_of(name: bytes) -> int:
    """The slot of a key: CRC16 (XMODEM) of the name, or of what is in its first braces if that is not empty."""
    start = name.find(b"{")
    if start >= 0:
        end = name.find(b"}", start + 1)
        if end > start + 1:
            name = name[start + 1 : end]
    return crc_hqx(name, 0) % SLOTS


@dataclass(frozen=True, slots=True)
class Shard:
    """A master, its replicas, and the ranges of slots that they have, both ends included."""

    master: NodePlace
    replicas: tuple[NodePlace, ...]
    ranges: tuple[tuple[int, int], ...]


def shards_of(reply: Sequence[Any], asked: str) -> tuple[Shard, ...]:
    """The reply to CLUSTER SLOTS. asked: the host that was asked; a node without a host of its own is there. Raises ValueError."""
    found: dict[NodePlace, tuple[tuple[NodePlace, ...], list[tuple[int, int]]]] = {}
    try:
        for first, last, master, *replicas in reply:
            if not 0 <= first <= last < SLOTS:
                raise ValueError(f"CLUSTER SLOTS has the slots {first} to {last}")
            entry = found.setdefault(_place(master, asked), (tuple(_place(each, asked) for each in replicas), []))
            entry[1].append((first, last))
    except (TypeError, IndexError, AttributeError, ValueError) as problem:
        raise ValueError(f"an unexpected reply to CLUSTER SLOTS: {problem}") from problem
    return tuple(Shard(master, replicas, tuple(ranges)) for master, (replicas, ranges) in found.items())


def _place(node: Sequence[Any], asked: str) -> NodePlace:
    host = (node[0] or b"").decode()
    return (host if host not in {"", "?"} else asked), int(node[1])


def owners(shards: Sequence[Shard]) -> Mapping[int, NodePlace]:
    """The master of each slot that has one."""
    return {slot: shard.master for shard in shards for first, last in shard.ranges for slot in range(first, last + 1)}


def name_in(shard: Shard) -> bytes:
    """A name whose slot this shard has, to ask for as a proof that it still has it: `vedette:` and two bytes.

    They are found by running CRC16 backwards: to try names would take 10 ms where a shard has few slots."""
    rest = shard.ranges[0][0]
    for _ in range(16):
        rest = (rest ^ _POLYNOMIAL) >> 1 | 0x8000 if rest & 1 else rest >> 1
    return _PROOF + (rest ^ crc_hqx(_PROOF, 0)).to_bytes(2, "big")


class Redirect(Enum):
    """What a node's refusal means for the one who asks."""

    MOVED = "the slot is another node's"
    ASK = "the slot is being moved; the key may be at the other node"
    AGAIN = "the slot is being moved; try again"
    UNAVAILABLE = "the node cannot answer now"
    REFUSED = "the command is refused"


def redirect_of(message: str, asked: str) -> tuple[Redirect, NodePlace | None]:
    """What an error means, and the node that it names. asked: the host that said it."""
    word, _, rest = message.partition(" ")
    if word in {"MOVED", "ASK"}:
        host, _, port = rest.partition(" ")[2].rpartition(":")
        if port.isascii() and port.isdigit():
            return Redirect[word], (host or asked, int(port))
    if word == "TRYAGAIN":
        return Redirect.AGAIN, None
    if word in {"CLUSTERDOWN", "LOADING", "MASTERDOWN"}:
        return Redirect.UNAVAILABLE, None
    return Redirect.REFUSED, None
