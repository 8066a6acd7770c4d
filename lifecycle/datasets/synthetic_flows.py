"""Plausible flows of a made-up network, so that a first model needs no data from outside.

Same columns as the CTU-13 flows. Most hosts are quiet: they browse, resolve, poll and copy. A quarter is infected and does one thing
beside:
scan slowly, guess passwords, flood, call home with jitter, or upload. Others do on orders what looks much like it: they monitor, deploy,
report, back up, or ask for a service that has gone. Seeded and vectorised. Good for trying things out, worth nothing as evidence about a
real network."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Rng = np.random.Generator
Places = NDArray[np.int64]
START: Final = np.datetime64("2026-01-05T09:00:00", "us")
SPAN_S: Final = 1200.0
VICTIM: Final = "10.20.0.5"
INFECTED: Final = 0.25
"""Share of the hosts."""
ON_ORDERS: Final = 0.18
"""Share of the hosts that look like infected ones; some are infected as well."""

COLUMNS: Final = [
    "StartTime", "Dur", "Proto", "SrcAddr", "Sport", "Dir", "DstAddr", "Dport", "State", "sTos", "dTos", "TotPkts", "TotBytes",
    "SrcBytes", "Label",
]  # fmt: skip


def generate_flows(seed: int, hosts: int = 2400, flows_per_host: int = 8) -> Any:
    """A data frame of flows in order of their start. flows_per_host: ordinary ones, on average."""
    rng = np.random.default_rng(seed)
    names = np.array([f"10.10.{i // 250}.{i % 250 + 1}" for i in range(hosts)], dtype=object)
    parts = [_ordinary(rng, names, flows_per_host)]
    for kinds, share in ((ATTACKS, INFECTED), (ORDERS, ON_ORDERS)):
        chosen = names[rng.permutation(hosts)[: max(len(kinds), int(hosts * share))]]
        parts += [kind(rng, chosen[i :: len(kinds)]) for i, kind in enumerate(kinds)]
    flows = pd.concat(parts, ignore_index=True)
    flows = flows[flows["offset"] < SPAN_S]
    flows["Dur"] = np.minimum(flows["Dur"], SPAN_S - flows["offset"])  # a capture ends for every flow
    flows["StartTime"] = START + np.round(flows.pop("offset") * 1e6).astype("timedelta64[us]")
    return flows.sort_values("StartTime", kind="stable").reset_index(drop=True)[COLUMNS]


def _flows(n: int, rng: Rng, **columns: Any) -> Any:
    """n flows from columns that are arrays or one value for all; packets and bytes are made whole and consistent."""
    packets = np.maximum(np.round(np.broadcast_to(columns.pop("packets"), n)), 1)
    sent = np.maximum(np.round(np.broadcast_to(columns.pop("sent"), n)), 60 * np.ceil(packets / 2))
    received = np.maximum(np.round(np.broadcast_to(columns.pop("received"), n)), 0)
    ports = {"Sport": rng.integers(1024, 65535, n).astype(str).astype(object)}
    body = {**ports, **columns, "TotPkts": packets, "TotBytes": sent + received, "SrcBytes": sent, "sTos": 0, "dTos": 0}
    frame = pd.DataFrame({name: np.broadcast_to(values, n) for name, values in body.items()})
    frame["Dir"] = np.where(frame["Proto"] == "udp", "  <->", "   ->")
    return frame.astype({"TotPkts": np.int64, "TotBytes": np.int64, "SrcBytes": np.int64, "sTos": np.int16, "dTos": np.int16})


def _strings(*values: str) -> Any:
    return np.array(values, dtype=object)


def _numbered(prefix: str, numbers: Places) -> Any:
    return (prefix + pd.Series(numbers).astype(str)).to_numpy(dtype=object)


def _outside(rng: Rng, n: int, hosts: int = 400) -> Any:
    number = rng.integers(0, hosts, n)
    return (_numbered("198.51.", number // 250) + "." + pd.Series(number % 250 + 1).astype(str)).to_numpy(dtype=object)


def _repeated(rng: Rng, hosts: int, low: int, high: int) -> tuple[Places, Places]:
    """Who does it, and for which time (from 0), for each flow: every host from low to high times."""
    counts = rng.integers(low, high + 1, hosts)
    who = np.repeat(np.arange(hosts), counts)
    return who, np.arange(len(who)) - np.repeat(np.cumsum(counts) - counts, counts)


def _paced(rng: Rng, who: Places, times: Places, every: Any, jitter: float) -> Any:
    """Offsets of flows that a host repeats every so many seconds (one value a host), each late or early by a share of that."""
    hosts = int(who.max(initial=-1)) + 1
    last = np.zeros(hosts)
    np.maximum.at(last, who, times.astype(np.float64))
    latest = np.maximum(SPAN_S - last * every, 1.0)
    begin = rng.uniform(0, latest)
    return np.abs(begin[who] + every[who] * (times + rng.uniform(-jitter, jitter, len(who))))


def _ordinary(rng: Rng, names: Any, flows_per_host: int) -> Any:
    share = rng.lognormal(0, 0.8, len(names))
    n = len(names) * flows_per_host
    source = names[rng.choice(len(names), n, p=share / share.sum())]
    what = rng.choice(5, n, p=[0.42, 0.38, 0.06, 0.10, 0.04])  # web, dns, ping, file share, refused or lost

    def pick(*choices: Any) -> Any:
        """One value per kind of traffic."""
        return np.choose(what, choices)

    size = rng.lognormal(0, 1.2, n)
    return _flows(
        n, rng, offset=rng.uniform(0, SPAN_S, n), SrcAddr=source,
        Dur=pick(size * 4, size * 0.01, size * 0.001, size * 15, rng.exponential(2, n)),
        Proto=_strings("tcp", "udp", "icmp", "tcp", "tcp")[what],
        DstAddr=np.where(what == 0, _outside(rng, n), np.where(what == 2, VICTIM, _numbered("10.20.0.", what))),
        Dport=np.where(what == 0, rng.choice(["443", "80"], n, p=[0.8, 0.2]), _strings("", "53", "0x0000", "445", "8443")[what]),
        State=np.where(what == 4, rng.choice(["S_", "S_RA"], n), _strings("FSPA_FSPA", "CON", "ECO", "PA_PA", "")[what]),
        packets=pick(12 * size, 2, 2, 60 * size, 2), sent=pick(900 * size, 75, 98, 8000 * size, 120),
        received=pick(9000 * size, 180, 98, 20000 * size, 60),
        Label=np.where(rng.random(n) < 0.25, "flow=From-Normal-Hosts", "flow=Background"),
    )  # fmt: skip


def _scan(rng: Rng, hosts: Any) -> Any:
    """One probe every few seconds to a minute, each to another machine."""
    who, times = _repeated(rng, len(hosts), 14, 26)
    n, port = len(who), rng.choice(["22", "23", "445", "1433", "3389", "8080", "8443"], len(hosts))
    return _flows(
        n, rng, offset=_paced(rng, who, times, rng.uniform(3, 40, len(hosts)), 0.4), SrcAddr=hosts[who], Proto="tcp",
        Dur=rng.exponential(0.5, n), DstAddr=_numbered("10.20.1.", rng.integers(1, 200, n)), Dport=port[who],
        State=rng.choice(["S_", "S_RA", "SR_SA", "FSPA_FSPA"], n, p=[0.5, 0.32, 0.1, 0.08]), packets=rng.integers(1, 5, n),
        sent=rng.normal(90, 20, n), received=rng.normal(60, 20, n), Label="flow=From-Botnet-Scan",
    )  # fmt: skip


def _monitor(rng: Rng, hosts: Any) -> Any:
    """Asks a list of machines in turn whether a service is up; some are not."""
    who, times = _repeated(rng, len(hosts), 14, 30)
    n, port, known = (
        len(who),
        rng.choice(["22", "445", "8080", "8443", "443", "161"], len(hosts)),
        rng.integers(4, 40, len(hosts)),
    )
    down = rng.beta(2, 2, len(hosts))
    return _flows(
        n, rng, offset=_paced(rng, who, times, rng.uniform(5, 40, len(hosts)), 0.1), SrcAddr=hosts[who], Proto="tcp",
        Dur=rng.exponential(0.4, n), DstAddr=_numbered("10.20.1.", 1 + (7 * who + times % known[who]) % 200), Dport=port[who],
        State=np.where(rng.random(n) < down[who], rng.choice(["S_", "S_RA"], n), "FSPA_FSPA"), packets=rng.integers(1, 6, n),
        sent=rng.normal(110, 30, n), received=rng.normal(80, 30, n), Label="flow=From-Normal-Operations",
    )  # fmt: skip


def _gone(rng: Rng, hosts: Any) -> Any:
    """A program that goes on asking for a service which is no longer there."""
    who, times = _repeated(rng, len(hosts), 8, 24)
    n, port, answer = (
        len(who),
        rng.choice(["22", "445", "1433", "8080", "8443"], len(hosts)),
        rng.choice(["S_", "S_RA"], len(hosts)),
    )
    return _flows(
        n, rng, offset=_paced(rng, who, times, rng.uniform(4, 50, len(hosts)), 0.3), SrcAddr=hosts[who], Proto="tcp",
        Dur=rng.exponential(0.7, n), DstAddr=_numbered("10.20.1.", 1 + (11 * who + times % 2) % 200), Dport=port[who],
        State=answer[who], packets=rng.integers(1, 5, n), sent=rng.normal(100, 25, n), received=rng.normal(55, 20, n),
        Label="flow=From-Normal-Operations",
    )  # fmt: skip


def _brute_force(rng: Rng, hosts: Any) -> Any:
    """Guesses passwords of one machine, slowly enough not to be locked out."""
    who, times = _repeated(rng, len(hosts), 14, 26)
    n, port = len(who), rng.choice(["22", "3389", "21"], len(hosts))
    return _flows(
        n, rng, offset=_paced(rng, who, times, rng.uniform(2, 25, len(hosts)), 0.4), SrcAddr=hosts[who], Proto="tcp",
        Dur=rng.gamma(4, 0.5, n), DstAddr="10.20.0.22", Dport=port[who], State=rng.choice(["FSPA_FSPA", "FSRPA_FSPA"], n),
        packets=rng.integers(12, 26, n), sent=rng.normal(1900, 300, n), received=rng.normal(2300, 350, n),
        Label="flow=From-Botnet-BruteForce",
    )  # fmt: skip


def _deploy(rng: Rng, hosts: Any) -> Any:
    """Logs in to several machines and does a little there."""
    who, times = _repeated(rng, len(hosts), 8, 22)
    n, known, effort = len(who), rng.integers(1, 5, len(hosts)), rng.lognormal(0.0, 0.3, len(who))
    return _flows(
        n, rng, offset=_paced(rng, who, times, rng.uniform(2, 30, len(hosts)), 0.4), SrcAddr=hosts[who], Proto="tcp",
        Dur=rng.gamma(4, 0.55, n) * effort, DstAddr=_numbered("10.20.0.", 20 + (3 * who + times % known[who]) % 60),
        Dport=rng.choice(["22", "3389"], len(hosts), p=[0.8, 0.2])[who], State=rng.choice(["FSPA_FSPA", "FSRPA_FSPA"], n, p=[0.6, 0.4]),
        packets=19 * effort, sent=1950 * effort, received=2400 * effort * rng.lognormal(0, 0.15, n),
        Label="flow=From-Normal-Operations",
    )  # fmt: skip


def _flood(rng: Rng, hosts: Any) -> Any:
    """A burst of large datagrams that nobody answers."""
    who, times = _repeated(rng, len(hosts), 16, 24)
    n, proto = len(who), rng.choice(["icmp", "udp"], len(hosts))
    return _flows(
        n, rng, offset=_paced(rng, who, times, rng.uniform(0.05, 2, len(hosts)), 0.5), SrcAddr=hosts[who],
        Dur=rng.exponential(0.02, n), Proto=proto[who], DstAddr=VICTIM, Dport=rng.integers(1, 65535, n).astype(str), State="UNK",
        packets=1 + rng.poisson(0.3, n), sent=1066, received=0, Label="flow=From-Botnet-Flood",
    )  # fmt: skip


def _beacon(rng: Rng, hosts: Any) -> Any:
    """Calls one outside machine every half minute or so, up to a third early or late."""
    who, times = _repeated(rng, len(hosts), 14, 24)
    n, peer = len(who), _numbered("203.0.113.", rng.integers(1, 250, len(hosts)))
    port = rng.choice(["443", "6667", "8080"], len(hosts), p=[0.5, 0.25, 0.25])
    return _flows(
        n, rng, offset=_paced(rng, who, times, rng.uniform(10, 50, len(hosts)), 0.3), SrcAddr=hosts[who], Proto="tcp",
        Dur=rng.gamma(9, 0.05, n), DstAddr=peer[who], Dport=port[who], State="SPA_SPA", packets=rng.integers(6, 12, n),
        sent=rng.normal(420, 60, n), received=rng.normal(310, 60, n), Label="flow=From-Botnet-Beacon",
    )  # fmt: skip


def _report(rng: Rng, hosts: Any) -> Any:
    """A telemetry agent: the same small message at fixed times."""
    who, times = _repeated(rng, len(hosts), 8, 24)
    n, peer = len(who), _numbered("198.51.100.", rng.integers(1, 250, len(hosts)))
    talk = rng.lognormal(0.1, 0.25, len(hosts))
    return _flows(
        n, rng, offset=_paced(rng, who, times, rng.uniform(10, 55, len(hosts)), 0.15), SrcAddr=hosts[who], Proto="tcp",
        Dur=rng.gamma(9, 0.06, n), DstAddr=peer[who], Dport=rng.choice(["443", "8080"], len(hosts), p=[0.8, 0.2])[who],
        State=rng.choice(["SPA_SPA", "FSPA_FSPA"], n, p=[0.8, 0.2]), packets=rng.integers(6, 13, n),
        sent=rng.normal(450, 60, n) * talk[who], received=rng.normal(330, 60, n) * talk[who], Label="flow=From-Normal-Operations",
    )  # fmt: skip


def _exfiltration(rng: Rng, hosts: Any) -> Any:
    """Uploads to one outside machine, piece by piece."""
    who, times = _repeated(rng, len(hosts), 12, 22)
    n, peer, size = len(who), _numbered("203.0.113.", rng.integers(1, 250, len(hosts))), rng.lognormal(14.0, 0.7, len(who))
    return _flows(
        n, rng, offset=_paced(rng, who, times, rng.uniform(5, 40, len(hosts)), 0.5), SrcAddr=hosts[who], Proto="tcp",
        Dur=rng.gamma(4, 5, n), DstAddr=peer[who], Dport="443", State="SPA_SPA", packets=size / 900, sent=size,
        received=size / rng.uniform(40, 80, n), Label="flow=From-Botnet-Exfiltration",
    )  # fmt: skip


def _backup(rng: Rng, hosts: Any) -> Any:
    """Copies what has changed to a store outside."""
    who, times = _repeated(rng, len(hosts), 6, 22)
    n, peer, size = len(who), _numbered("198.51.100.", rng.integers(1, 250, len(hosts))), rng.lognormal(14.2, 0.8, len(who))
    return _flows(
        n, rng, offset=_paced(rng, who, times, rng.uniform(5, 50, len(hosts)), 0.2), SrcAddr=hosts[who], Proto="tcp",
        Dur=rng.gamma(4, 6, n), DstAddr=peer[who], Dport=rng.choice(["443", "873"], len(hosts), p=[0.85, 0.15])[who],
        State=rng.choice(["SPA_SPA", "FSPA_FSPA"], n, p=[0.8, 0.2]), packets=size / 920, sent=size,
        received=size / rng.uniform(35, 90, n), Label="flow=From-Normal-Operations",
    )  # fmt: skip


Kind = Callable[[Rng, Any], Any]
ATTACKS: Final[tuple[Kind, ...]] = (_scan, _brute_force, _flood, _beacon, _exfiltration)
ORDERS: Final[tuple[Kind, ...]] = (_monitor, _gone, _deploy, _report, _backup)
