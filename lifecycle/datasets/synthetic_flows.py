"""Plausible flows of a made-up network, so that a first model needs no data from outside.

Same columns as the CTU-13 flows. Benign hosts browse, resolve, poll and copy; some scan, log in and upload on orders, which looks
much like an attack; some are infected: scan, brute force, flood, beacon, exfiltration.
Seeded and vectorised. Good for trying things out, worth nothing as evidence about a real network."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd

Rng = np.random.Generator
START: Final = np.datetime64("2026-01-05T09:00:00", "us")
SPAN_S: Final = 1200.0
VICTIM: Final = "10.20.0.5"


def generate_flows(seed: int, hosts: int = 160, flows_per_host: int = 160) -> Any:
    """A data frame of flows in order of their start. hosts: internal hosts; a fifth of them is attacking."""
    rng = np.random.default_rng(seed)
    names = np.array([f"10.10.{i // 250}.{i % 250 + 1}" for i in range(hosts)], dtype=object)
    parts = [_benign(rng, names, flows_per_host)]
    parts += [_lookalike(rng, names[host]) for host in rng.permutation(hosts)[: hosts // 5]]
    attackers = rng.permutation(hosts)[: max(len(ATTACKS), hosts // 5)]
    kinds = list(ATTACKS.values())
    parts += [kinds[i % len(kinds)](rng, names[host]) for i, host in enumerate(attackers)]
    flows = pd.concat(parts, ignore_index=True)
    flows = flows[flows["offset"] < SPAN_S]
    flows["Dur"] = np.minimum(flows["Dur"], SPAN_S - flows["offset"])  # a capture ends for every flow
    flows["StartTime"] = START + np.round(flows.pop("offset") * 1e6).astype("timedelta64[us]")
    return flows.sort_values("StartTime", kind="stable").reset_index(drop=True)[COLUMNS]


COLUMNS: Final = [
    "StartTime", "Dur", "Proto", "SrcAddr", "Sport", "Dir", "DstAddr", "Dport", "State", "sTos", "dTos", "TotPkts", "TotBytes",
    "SrcBytes", "Label",
]  # fmt: skip


def _flows(n: int, rng: Rng, **columns: Any) -> Any:
    """n flows from columns that are arrays or one value for all; packets and bytes are made whole and consistent."""
    packets = np.maximum(np.round(np.broadcast_to(columns.pop("packets"), n)), 1)
    sent = np.maximum(np.round(np.broadcast_to(columns.pop("sent"), n)), 60 * np.ceil(packets / 2))
    received = np.round(np.broadcast_to(columns.pop("received"), n))
    ports = {"Sport": rng.integers(1024, 65535, n).astype(str).astype(object)}
    body = {**ports, **columns, "TotPkts": packets, "TotBytes": sent + received, "SrcBytes": sent, "sTos": 0, "dTos": 0}
    frame = pd.DataFrame({name: np.broadcast_to(values, n) for name, values in body.items()})
    frame["Dir"] = np.where(frame["Proto"] == "udp", "  <->", "   ->")
    return frame.astype({"TotPkts": np.int64, "TotBytes": np.int64, "SrcBytes": np.int64, "sTos": np.int16, "dTos": np.int16})


def _strings(*values: str) -> Any:
    return np.array(values, dtype=object)


def _outside(rng: Rng, n: int, hosts: int = 400) -> Any:
    number = rng.integers(0, hosts, n)
    return ("198.51." + pd.Series(number // 250).astype(str) + "." + pd.Series(number % 250 + 1).astype(str)).to_numpy(
        dtype=object
    )


def _benign(rng: Rng, names: Any, flows_per_host: int) -> Any:
    share = rng.lognormal(0, 1.0, len(names))
    n = len(names) * flows_per_host
    source = names[rng.choice(len(names), n, p=share / share.sum())]
    what = rng.choice(5, n, p=[0.42, 0.38, 0.06, 0.08, 0.06])  # web, dns, monitoring, file share, refused or lost

    def pick(*choices: Any) -> Any:
        """One value per kind of traffic."""
        return np.choose(what, choices)

    size = rng.lognormal(0, 1.2, n)
    return _flows(
        n, rng, offset=rng.uniform(0, SPAN_S, n), SrcAddr=source,
        Dur=pick(size * 4, size * 0.01, size * 0.001, size * 15, rng.exponential(2, n)),
        Proto=_strings("tcp", "udp", "icmp", "tcp", "tcp")[what],
        DstAddr=np.where(what == 0, _outside(rng, n), np.where(what == 2, VICTIM, "10.20.0." + pd.Series(what).astype(str))),
        Dport=np.where(what == 0, rng.choice(["443", "80"], n, p=[0.8, 0.2]), _strings("", "53", "0x0000", "445", "8443")[what]),
        State=np.where(what == 4, rng.choice(["S_", "S_RA"], n), _strings("FSPA_FSPA", "CON", "ECO", "PA_PA", "")[what]),
        packets=pick(12 * size, 2, 2, 60 * size, 2), sent=pick(900 * size, 75, 98, 8000 * size, 120),
        received=pick(9000 * size, 180, 98, 20000 * size, 60),
        Label=np.where(rng.random(n) < 0.25, "flow=From-Normal-Hosts", "flow=Background"),
    )  # fmt: skip


def _lookalike(rng: Rng, host: str) -> Any:
    """What an inventory scanner, a deployment tool, a telemetry agent or a backup does, on orders and a little slower."""
    kind = ATTACKS[str(rng.choice([k for k in ATTACKS if k != "flood"]))]
    flows = kind(rng, host)
    keep = np.sort(rng.permutation(len(flows))[: max(5, int(len(flows) * rng.uniform(0.2, 0.7)))])
    flows = flows.iloc[keep].assign(Label="flow=From-Normal-Operations")
    flows["offset"] = (flows["offset"] - flows["offset"].min()) * rng.uniform(1, 2.5) + flows["offset"].min()
    flows["Dport"] = np.where(rng.random(len(flows)) < 0.3, "443", flows["Dport"])
    return flows


def _scan(rng: Rng, host: str) -> Any:
    n, begin = int(rng.integers(120, 500)), rng.uniform(0, SPAN_S * 0.8)
    return _flows(
        n, rng, offset=begin + np.sort(rng.uniform(0, rng.uniform(20, 200), n)), SrcAddr=host, Dur=rng.exponential(0.4, n), Proto="tcp",
        DstAddr="10.20.1." + pd.Series(rng.integers(1, 200, n)).astype(str), Dport=rng.integers(1, 9000, n).astype(str),
        State=rng.choice(["S_", "S_RA", "SR_SA"], n, p=[0.6, 0.35, 0.05]), packets=rng.integers(1, 4, n), sent=70, received=50,
        Label="flow=From-Botnet-Scan",
    )  # fmt: skip


def _brute_force(rng: Rng, host: str) -> Any:
    n, begin = int(rng.integers(60, 250)), rng.uniform(0, SPAN_S * 0.6)
    return _flows(
        n, rng, offset=begin + np.cumsum(rng.exponential(1.2, n)), SrcAddr=host, Dur=rng.gamma(4, 0.4, n), Proto="tcp",
        DstAddr="10.20.0.22", Dport=str(rng.choice(["22", "3389", "21"])), State=rng.choice(["FSPA_FSPA", "FSRPA_FSPA"], n),
        packets=rng.integers(14, 26, n), sent=rng.normal(1900, 200, n), received=rng.normal(2300, 250, n),
        Label="flow=From-Botnet-BruteForce",
    )  # fmt: skip


def _flood(rng: Rng, host: str) -> Any:
    n, begin = int(rng.integers(600, 1500)), rng.uniform(0, SPAN_S * 0.85)
    return _flows(
        n, rng, offset=begin + rng.uniform(0, rng.uniform(20, 120), n), SrcAddr=host, Dur=rng.exponential(0.02, n),
        Proto=str(rng.choice(["icmp", "udp"])), DstAddr=VICTIM, Dport=rng.integers(1, 65535, n).astype(str), State="UNK",
        packets=1 + rng.poisson(0.3, n), sent=1066, received=0, Label="flow=From-Botnet-Flood",
    )  # fmt: skip


def _beacon(rng: Rng, host: str) -> Any:
    every = rng.uniform(5, 30)
    offset = np.arange(rng.uniform(0, 60), SPAN_S, every)
    n = len(offset)
    return _flows(
        n, rng, offset=offset + rng.normal(0, every * 0.03, n).clip(-1, 1) + 1, SrcAddr=host, Dur=rng.gamma(9, 0.05, n), Proto="tcp",
        DstAddr=f"203.0.113.{rng.integers(1, 250)}", Dport=str(rng.choice(["443", "6667", "8080"])), State="SPA_SPA",
        packets=rng.integers(7, 10, n), sent=rng.normal(420, 15, n), received=rng.normal(310, 15, n), Label="flow=From-Botnet-Beacon",
    )  # fmt: skip


def _exfiltration(rng: Rng, host: str) -> Any:
    n, begin = int(rng.integers(15, 50)), rng.uniform(0, SPAN_S * 0.6)
    size = rng.lognormal(14.5, 0.6, n)
    return _flows(
        n, rng, offset=begin + np.cumsum(rng.exponential(8, n)), SrcAddr=host, Dur=rng.gamma(4, 5, n), Proto="tcp",
        DstAddr=f"203.0.113.{rng.integers(1, 250)}", Dport="443", State="SPA_SPA", packets=size / 900, sent=size, received=size / 60,
        Label="flow=From-Botnet-Exfiltration",
    )  # fmt: skip


ATTACKS: Final[dict[str, Callable[[Rng, str], Any]]] = {
    "scan": _scan, "brute_force": _brute_force, "flood": _flood, "beacon": _beacon, "exfiltration": _exfiltration,
}  # fmt: skip
