"""The stream of the drift demonstration: sessions at the edge of a made-up network, before and after its traffic changes. Pure.

Before: browsing over TCP, name lookups, file shares, administration, backups; attacks of four families. After: most browsing and calls go
over QUIC (UDP), which training has never seen, and attackers call home over it too. So the detector is asked about other rows, and misses
attacks. Seeded. It is worth nothing as evidence about a real network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Rng = np.random.Generator
Columns = Mapping[str, Any]
BENIGN: Final = "none"
"""What the column `family` says of a benign session."""
NEW_FAMILY: Final = "quic-tunnel"
ATTACKS: Final = 0.12
"""Share of the sessions, before and after."""
FIELDS: Final[Mapping[str, str]] = {
    "proto": "string", "port": "int", "duration": "float", "packets": "int", "packet_size": "float", "bytes_out": "int", "bytes_in": "int",
}  # fmt: skip
"""What a client sends of a session, and the type of each."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions in order. rows: values by column of FIELDS, each of shape (n,). family: BENIGN or that of the attack, shape (n,)."""

    rows: Mapping[str, NDArray[Any]]
    family: NDArray[np.object_]

    def frame(self) -> Any:
        """As a data frame with the column `family`."""
        return pd.DataFrame({**self.rows, "family": self.family})


def sessions(rng: Rng, n: int, *, is_drifted: bool) -> Sessions:
    """n sessions, each drawn independently of the others, so that nothing but the drift changes."""
    mix = AFTER if is_drifted else BEFORE
    kinds = list(mix)
    drawn = rng.choice(len(kinds), n, p=list(mix.values()))
    parts = []
    for place, kind in enumerate(kinds):
        where = np.flatnonzero(drawn == place)
        family, make = KINDS[kind]
        parts.append(pd.DataFrame({"at": where, "family": family, **make(rng, len(where))}))
    frame = pd.concat(parts, ignore_index=True).sort_values("at", kind="stable")
    rows = {name: _typed(frame[name], type_) for name, type_ in FIELDS.items()}
    return Sessions(rows, np.asarray(frame["family"], dtype=object))


def _typed(column: Any, type_: str) -> NDArray[Any]:
    if type_ == "string":
        return np.asarray(column, dtype=object)
    return np.asarray(column, dtype=np.int64 if type_ == "int" else np.float64)


def _session(n: int, proto: str, port: Any, *, duration: Any, packets: Any, out: Any, back: Any) -> Columns:
    packets, out, back = (np.maximum(np.round(values), least) for values, least in ((packets, 1), (out, 40), (back, 0)))
    columns = {
        "proto": proto, "port": port, "duration": duration, "packets": packets, "packet_size": (out + back) / packets,
        "bytes_out": out, "bytes_in": back,
    }  # fmt: skip
    return {name: np.broadcast_to(values, n) for name, values in columns.items()}


def _web(rng: Rng, n: int) -> Columns:
    size, port = rng.lognormal(0, 1, n), rng.choice([443, 80], n, p=[0.85, 0.15])
    back = 12000 * size * rng.lognormal(0, 0.5, n)
    return _session(n, "tcp", port, duration=4 * size, packets=14 * size, out=1100 * size, back=back)


def _lookup(rng: Rng, n: int) -> Columns:
    out, back = rng.normal(75, 10, n), rng.normal(190, 40, n)
    return _session(n, "udp", 53, duration=rng.exponential(0.03, n), packets=rng.integers(2, 5, n), out=out, back=back)


def _share(rng: Rng, n: int) -> Columns:
    size = rng.lognormal(0, 1, n)
    out = 9000 * size * rng.lognormal(0, 0.7, n)
    return _session(n, "tcp", 445, duration=15 * size, packets=60 * size, out=out, back=20000 * size)


def _admin(rng: Rng, n: int) -> Columns:
    size = rng.lognormal(0, 0.8, n)
    back = 9000 * size * rng.lognormal(0, 0.4, n)
    return _session(n, "tcp", 22, duration=40 * size, packets=80 * size, out=6000 * size, back=back)


def _backup(rng: Rng, n: int) -> Columns:
    size = rng.lognormal(13.2, 0.8, n)
    back = size / rng.lognormal(2.7, 0.3, n)
    return _session(n, "tcp", 443, duration=rng.gamma(4, 7, n), packets=size / 900, out=size, back=back)


def _quic(rng: Rng, n: int) -> Columns:
    """Browsing over QUIC."""
    size = rng.lognormal(0, 1, n)
    back = 14000 * size * rng.lognormal(0, 0.5, n)
    return _session(n, "udp", 443, duration=5 * size, packets=16 * size, out=1200 * size, back=back)


def _call(rng: Rng, n: int) -> Columns:
    """A call with pictures, over QUIC."""
    seconds = rng.gamma(2, 150, n)
    out, back = 60000 * seconds * rng.lognormal(0, 0.4, n), 70000 * seconds * rng.lognormal(0, 0.4, n)
    return _session(n, "udp", 443, duration=seconds, packets=90 * seconds, out=out, back=back)


def _scan(rng: Rng, n: int) -> Columns:
    port, out, back = rng.choice([22, 445, 3389, 8080], n), rng.normal(80, 15, n), rng.normal(50, 15, n)
    return _session(n, "tcp", port, duration=rng.exponential(0.4, n), packets=rng.integers(1, 4, n), out=out, back=back)


def _guessing(rng: Rng, n: int) -> Columns:
    port, out, back = rng.choice([22, 3389], n), rng.normal(1900, 300, n), rng.normal(2300, 350, n)
    return _session(n, "tcp", port, duration=rng.gamma(4, 0.5, n), packets=rng.integers(12, 26, n), out=out, back=back)


def _beacon(rng: Rng, n: int) -> Columns:
    out, back = rng.normal(420, 60, n), rng.normal(310, 60, n)
    return _session(n, "tcp", 443, duration=rng.gamma(9, 0.06, n), packets=rng.integers(6, 12, n), out=out, back=back)


def _exfiltration(rng: Rng, n: int) -> Columns:
    size = rng.lognormal(14.0, 0.7, n)
    back = size / rng.lognormal(4.1, 0.3, n)
    return _session(n, "tcp", 443, duration=rng.gamma(4, 5, n), packets=size / 900, out=size, back=back)


def _tunnel(rng: Rng, n: int) -> Columns:
    """Orders and answers in small even messages over QUIC: less comes back than is sent, which browsing does not do."""
    turns = rng.integers(6, 20, n)
    out, back = turns * rng.normal(260, 40, n), turns * rng.normal(180, 40, n)
    return _session(
        n, "udp", 443, duration=turns * rng.gamma(4, 0.5, n), packets=turns * rng.integers(2, 4, n), out=out, back=back
    )


KINDS: Final[Mapping[str, tuple[str, Callable[[Rng, int], Columns]]]] = {
    "web": (BENIGN, _web), "lookup": (BENIGN, _lookup), "share": (BENIGN, _share), "admin": (BENIGN, _admin),
    "backup": (BENIGN, _backup), "quic": (BENIGN, _quic), "call": (BENIGN, _call),
    "scan": ("scan", _scan), "guessing": ("guessing", _guessing), "beacon": ("beacon", _beacon),
    "exfiltration": ("exfiltration", _exfiltration), "tunnel": (NEW_FAMILY, _tunnel),
}  # fmt: skip
OLD_FAMILIES: Final = ("scan", "guessing", "beacon", "exfiltration")
BEFORE: Final[Mapping[str, float]] = {
    "web": 0.42, "lookup": 0.25, "share": 0.12, "admin": 0.05, "backup": 0.04, **dict.fromkeys(OLD_FAMILIES, ATTACKS / 4),
}  # fmt: skip
"""Share of each kind of session."""
AFTER: Final[Mapping[str, float]] = {
    "web": 0.12, "quic": 0.25, "call": 0.1, "lookup": 0.2, "share": 0.12, "admin": 0.05, "backup": 0.04,
    **dict.fromkeys(OLD_FAMILIES, ATTACKS / 10), "tunnel": ATTACKS * 0.6,
}  # fmt: skip
