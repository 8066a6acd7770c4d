"""What entities did in one window, as numbers: a row for each entity. Pure: the definition that training and batch scoring share."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.batch.behaviour.beacons import beacon_scores

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]
FEATURES: Final = {
    "events": "log10(1 + flows) of the entity",
    "peers": "log10(1 + distinct destinations)",
    "ports": "log10(1 + distinct destination ports)",
    "fan_out": "distinct pairs of destination and port for each flow",
    "peer_entropy": "Shannon entropy of the destinations, bits",
    "port_entropy": "Shannon entropy of the destination ports, bits",
    "top_peer_share": "share of the flows that go to the most frequent destination",
    "beacon": "regularity of the most regular destination, 0 to 1",
    "failed_share": "share of the flows without an answer, or refused",
    "sent_share": "share of the bytes that the entity sent",
    "bytes": "log10(1 + bytes), both directions",
    "bytes_per_event": "log10(1 + bytes for each flow)",
    "first_seen_share": "share of the destinations that the entity had not talked to before",
}
"""Name -> what it is."""


@dataclass(frozen=True, slots=True)
class Events:
    """Events of one window. entity, peer, port: codes, shape (n,), -1 for none. known: whether each one's pair of entity and peer was
    seen before; None if nothing is known of the time before."""

    entity: _Ints
    peer: _Ints
    port: _Ints
    at_us: _Ints
    bytes: _Floats
    sent: _Floats
    failed: NDArray[np.bool_]
    known: NDArray[np.bool_] | None = None


def window_features(events: Events) -> tuple[_Ints, dict[str, _Floats], _Ints]:
    """The entities' codes (m,), the features by name, each (m,), and the number of each one's events."""
    entities, who, counts = np.unique(events.entity, return_inverse=True, return_counts=True)
    m, n = len(entities), counts.astype(np.float64)

    def total(values: Any) -> _Floats:
        return np.bincount(who, weights=values, minlength=m).astype(np.float64)

    peer_of, peer_counts, peers = _counted(who, events.peer)
    port_of, port_counts, ports = _counted(who, events.port)
    _, _, pairs = _counted(who, _joined(events.peer, events.port))
    top = np.zeros(m)
    np.maximum.at(top, peer_of, peer_counts / n[peer_of])
    beacon = np.zeros(m)
    is_known_peer = events.peer >= 0
    pair, scores = beacon_scores(_joined(who, events.peer)[is_known_peer], events.at_us[is_known_peer])
    first_of_pair = np.unique(_joined(who, events.peer)[is_known_peer], return_index=True)
    owner = (
        who[is_known_peer][first_of_pair[1][np.searchsorted(first_of_pair[0], pair)]] if len(pair) else np.zeros(0, np.int64)
    )
    np.maximum.at(beacon, owner, scores)
    size, sent = total(events.bytes), total(events.sent)
    new = np.zeros(m) if events.known is None else _new_peers(who, events, m)
    features = {
        "events": np.log10(1 + n),
        "peers": np.log10(1 + peers),
        "ports": np.log10(1 + ports),
        "fan_out": pairs / n,
        "peer_entropy": _entropy(peer_of, peer_counts, n, m),
        "port_entropy": _entropy(port_of, port_counts, n, m),
        "top_peer_share": top,
        "beacon": beacon,
        "failed_share": total(events.failed) / n,
        "sent_share": np.divide(sent, size, out=np.zeros(m), where=size > 0),
        "bytes": np.log10(1 + size),
        "bytes_per_event": np.log10(1 + size / n),
        "first_seen_share": np.divide(new, peers, out=np.zeros(m), where=peers > 0),
    }
    return entities, features, counts


def _joined(first: _Ints, second: _Ints) -> _Ints:
    """One code for each combination of two; -1 where the second is none."""
    width = int(second.max(initial=-1)) + 1
    return np.where(second < 0, -1, first * max(width, 1) + second)


def _counted(who: _Ints, values: _Ints) -> tuple[_Ints, _Ints, _Floats]:
    """For each entity and value that occur: the entity, and how often; and the number of values of each entity."""
    some = values >= 0
    owners, kinds = who[some], values[some]
    _, first, counts = np.unique(_joined(owners, kinds), return_index=True, return_counts=True)
    owner = owners[first]
    return owner, counts, np.bincount(owner, minlength=int(who.max(initial=-1)) + 1).astype(np.float64)


def _entropy(owner: _Ints, counts: _Ints, n: _Floats, m: int) -> _Floats:
    totals = np.bincount(owner, weights=counts, minlength=m)
    share = counts / totals[owner]
    return np.bincount(owner, weights=-share * np.log2(share), minlength=m).astype(np.float64)


def _new_peers(who: _Ints, events: Events, m: int) -> _Floats:
    assert events.known is not None  # noqa: S101  # nosec B101  # the caller looked
    some = (events.peer >= 0) & ~events.known
    _, first = np.unique(_joined(who[some], events.peer[some]), return_index=True)
    return np.bincount(who[some][first], minlength=m).astype(np.float64)
