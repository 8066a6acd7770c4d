"""The events of a year, with their truth: covariates shift slowly and suddenly, a concept shifts, a new attack family comes. Seeded.

Columns are counts and sizes on a logarithmic scale, with one common cause (how busy the host is), and three columns of text. Attacks differ
from benign events in some columns of their family. How much they differ varies, so that no attack is found for certain."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats, Mask

Rng = np.random.Generator
DAY_US: Final = 86_400_000_000
START_US: Final = 1_767_571_200_000_000
"""2026-01-05 00:00 UTC, a Monday."""
BASE_DAY: Final = -60
"""Where the rows that the first model is trained on begin."""
NEW_FAMILY: Final = "tunnel"

_MIDDLE: Final[Mapping[str, tuple[float, float, float]]] = {
    "bytes_out": (8.0, 0.9, 0.8), "bytes_in": (9.0, 0.9, 0.8), "packets": (4.0, 0.8, 0.5), "duration": (1.5, 0.3, 0.9),
    "connections_1m": (1.0, 0.6, 0.5), "connections_10m": (2.5, 0.7, 0.4), "ports": (0.7, 0.3, 0.5), "peers": (1.2, 0.4, 0.5),
    "failed_logins": (-0.5, 0.1, 0.8), "requests": (2.0, 0.7, 0.6), "errors": (0.2, 0.3, 0.7), "dns_queries": (1.6, 0.5, 0.6),
    "name_entropy": (0.9, 0.0, 0.25), "upload_ratio": (-1.0, 0.0, 0.8), "gap_spread": (0.5, 0.1, 0.7), "payload": (5.5, 0.3, 0.6),
    "sessions": (0.8, 0.5, 0.5), "night": (-0.8, 0.0, 0.9), "reuse": (1.0, 0.2, 0.6), "redirects": (-0.3, 0.2, 0.7),
}  # fmt: skip
"""Column -> logarithm of its median, how much of the common cause is in it, its own spread."""
NUMBERS: Final = tuple(_MIDDLE)
_SERVICES: Final = ("web", "dns", "file", "shell", "mail", "cloud", "other")
_SERVICE_SHARES: Final = (0.42, 0.18, 0.12, 0.06, 0.08, 0.08, 0.06)
_ORIGINS: Final = ("home", "near", "far")
_LOGINS: Final = ("none", "password", "key", "sso")
TEXTS: Final = ("service", "origin", "login")
COLUMNS: Final = (*NUMBERS, *TEXTS)

_FAMILIES: Final[Mapping[str, Mapping[str, float]]] = {
    "guessing": {"failed_logins": 3.7, "connections_1m": 2.1, "errors": 2.1, "sessions": 0.9},
    "scan": {"ports": 3.5, "peers": 3.2, "connections_10m": 2.0, "duration": -1.3},
    "exfiltration": {"bytes_out": 3.0, "upload_ratio": 3.2, "payload": 1.3, "night": 1.3},
    "beacon": {"gap_spread": -3.3, "sessions": 2.0, "name_entropy": 1.8, "bytes_out": -0.8},
    NEW_FAMILY: {"dns_queries": 2.9, "name_entropy": 2.2, "reuse": 2.1, "bytes_in": -1.3},
}
"""Family -> by how many standard deviations an attack of usual loudness differs."""
_QUIET_EXFILTRATION: Final = {"bytes_out": 0.4, "upload_ratio": 0.4, "requests": 2.9, "redirects": 2.8, "reuse": 1.5}
"""The same family after the concept shift: what gave it away is as in benign events."""
_BACKUP: Final = {"bytes_out": 2.9, "upload_ratio": 3.0, "payload": 1.2, "night": 1.2}
"""Benign events after the concept shift that look as that family did."""
_GROWTH: Final = {"bytes_out": 0.8, "bytes_in": 0.8, "packets": 0.7, "connections_10m": 0.6, "requests": 0.6, "sessions": 0.5}
_SENSOR: Final = {"duration": 1.0, "payload": -0.9, "errors": 0.8, "reuse": 0.6}
_USUAL: Final = ("guessing", "scan", "exfiltration", "beacon")
_HOSTS: Final = 1500


@dataclass(frozen=True, slots=True)
class PlantedChanges:
    """The days on which the planted changes begin; None: there is no such change.

    growth: (first, last) day of a slow covariate shift. sensor: a sudden one. concept: from then on one attack family looks benign, and
    some benign events look as it did. family: a new attack family comes in addition."""

    growth: tuple[int, int] | None = (70, 110)
    sensor: int | None = 150
    concept: int | None = 210
    family: int | None = 280


QUIET: Final = PlantedChanges(None, None, None, None)


@dataclass(frozen=True, slots=True)
class Events:
    """Events in order of time, arrays of shape (n,). day: from 0; rows before the year have days below 0. family: empty for benign
    events."""

    columns: Mapping[str, NDArray[Any]]
    host: NDArray[np.object_]
    times_us: NDArray[np.int64]
    day: NDArray[np.int64]
    attack: Mask
    family: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.attack)

    def take(self, rows: NDArray[Any] | slice) -> "Events":
        """Some of the events, by mask, places or slice."""
        return Events(
            {name: column[rows] for name, column in self.columns.items()},
            self.host[rows], self.times_us[rows], self.day[rows], self.attack[rows], self.family[rows],
        )  # fmt: skip

    def of_day(self, day: int) -> "Events":
        """The events of one day."""
        first, last = np.searchsorted(self.day, [day, day + 1])
        return self.take(slice(int(first), int(last)))


@dataclass(frozen=True, slots=True)
class YearWorld:
    """events_a_day: on average. attack_share: share of attacks; the new family adds new_share of all events to it. backup_share: share
    of benign events that look as an attack did, after the concept shift."""

    changes: PlantedChanges = PlantedChanges()
    days: int = 364
    events_a_day: int = 1000
    attack_share: float = 0.04
    base_attack_share: float = 0.12
    new_share: float = 0.012
    backup_share: float = 0.01

    def base(self, seed: int, rows: int) -> Events:
        """Rows from the time before the year, on which the first model is trained."""
        rng = np.random.default_rng([seed, 1])
        day = np.sort(rng.integers(BASE_DAY, 0, rows))
        return replace(self, attack_share=self.base_attack_share)._events(rng, day)

    def year(self, seed: int) -> Events:
        """The events of the year."""
        rng = np.random.default_rng([seed, 2])
        day = np.repeat(np.arange(self.days), rng.poisson(self.events_a_day, self.days))
        return self._events(rng, day)

    def _events(self, rng: Rng, day: NDArray[np.int64]) -> Events:
        n = len(day)
        is_new = rng.random(n) < np.where(_since(day, self.changes.family), self.new_share, 0.0)
        is_attack = is_new | (rng.random(n) < self.attack_share)
        which = rng.integers(0, len(_USUAL), n)
        family = np.where(is_new, NEW_FAMILY, np.array(_USUAL)[which]).astype(object)
        family[~is_attack] = ""
        is_backup = ~is_attack & (rng.random(n) < np.where(_since(day, self.changes.concept), self.backup_share, 0.0))
        host = rng.integers(0, _HOSTS, n)
        values = self._numbers(rng, day, family, is_backup, host)
        texts = self._texts(rng, day, family)
        order = np.argsort(day * DAY_US + (offset := rng.integers(0, DAY_US, n)), kind="stable")
        names = np.array([f"host-{i:04d}" for i in range(_HOSTS)], dtype=object)
        found = Events(values | texts, names[host], START_US + day * DAY_US + offset, day, is_attack, family)
        return found.take(order)

    def _numbers(
        self, rng: Rng, day: NDArray[np.int64], family: NDArray[np.object_], is_backup: Mask, host: NDArray[np.int64]
    ) -> dict[str, NDArray[Any]]:
        n = len(day)
        cause = 0.8 * rng.normal(0, 1, n) + 0.6 * np.random.default_rng(0).normal(0, 1, _HOSTS)[host]
        loudness = rng.lognormal(-0.03, 0.25, n)
        moved = {name: np.zeros(n) for name in NUMBERS}
        is_quiet = (family == "exfiltration") & _since(day, self.changes.concept)
        for name, signs in _FAMILIES.items():
            _add(moved, signs, loudness * ((family == name) & ~is_quiet))
        _add(moved, _QUIET_EXFILTRATION, loudness * is_quiet)
        _add(moved, _BACKUP, loudness * is_backup)
        _add(moved, _GROWTH, _grown(day, self.changes.growth))
        _add(moved, _SENSOR, _since(day, self.changes.sensor).astype(np.float64))
        found: dict[str, NDArray[Any]] = {}
        for name, (middle, shared, own) in _MIDDLE.items():
            spread = float(np.hypot(shared, own))
            found[name] = np.exp(middle + shared * cause + own * rng.normal(0, 1, n) + spread * moved[name])
        return found

    def _texts(self, rng: Rng, day: NDArray[np.int64], family: NDArray[np.object_]) -> dict[str, NDArray[Any]]:
        n = len(day)
        service = rng.choice(np.array(_SERVICES, dtype=object), n, p=_SERVICE_SHARES)
        origin = rng.choice(np.array(_ORIGINS, dtype=object), n, p=(0.6, 0.28, 0.12))
        login = rng.choice(np.array(_LOGINS, dtype=object), n, p=(0.5, 0.28, 0.07, 0.15))
        _put(rng, service, "cloud", np.where(service == "web", 0.35 * _grown(day, self.changes.growth), 0.0))
        _put(rng, login, "token", np.where((login != "none") & _since(day, self.changes.sensor), 0.6, 0.0))
        _put(rng, service, "shell", np.where(family == "guessing", 0.5, 0.0))
        _put(rng, login, "password", np.where(family == "guessing", 0.6, 0.0))
        _put(rng, origin, "far", np.where((family == "exfiltration") | (family == "beacon"), 0.35, 0.0))
        _put(rng, service, "dns", np.where(family == NEW_FAMILY, 0.7, 0.0))
        return {"service": service, "origin": origin, "login": login}


def _since(day: NDArray[np.int64], first: int | None) -> Mask:
    return np.zeros(len(day), dtype=bool) if first is None else np.asarray(day >= first)


def _grown(day: NDArray[np.int64], between: tuple[int, int] | None) -> Floats:
    """How far a slow change has gone, 0 to 1."""
    if between is None:
        return np.zeros(len(day))
    return np.asarray(np.clip((day - between[0]) / max(between[1] - between[0], 1), 0.0, 1.0))


def _add(moved: dict[str, Floats], signs: Mapping[str, float], how_much: Floats) -> None:
    for name, sign in signs.items():
        moved[name] += sign * how_much


def _put(rng: Rng, column: NDArray[np.object_], value: str, chance: Floats) -> None:
    column[rng.random(len(column)) < chance] = value
