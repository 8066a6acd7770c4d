"""Decides which bundles of a registry can be removed, and why the others are kept. Pure: the shell counts and removes.

A bundle is kept while it is in staging or production, has an alias, was pushed or staged lately, or is named by what is served, by a
service document or by a record that is younger than the retention."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lifecycle.governance.registry.history import RegisteredBundle, describe_use

DAY_US: Final = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Need:
    """A bundle, and why it is kept. An empty `why`: nothing needs it."""

    bundle: RegisteredBundle
    why: str


def needs(
    bundles: Sequence[RegisteredBundle],
    named: Mapping[str, str],
    recorded: Mapping[tuple[str, str], int],
    *,
    now_us: int,
    grace_us: int,
    retention_us: int,
) -> list[Need]:
    """Why each bundle is kept.

    named: digest -> the document that names it. recorded: (model, version) -> time of its newest answer, microseconds since the epoch.
    grace_us, retention_us: durations in microseconds."""
    return [
        Need(bundle, _why(bundle, named, recorded, now_us=now_us, grace_us=grace_us, retention_us=retention_us))
        for bundle in bundles
    ]


def _why(
    bundle: RegisteredBundle,
    named: Mapping[str, str],
    recorded: Mapping[tuple[str, str], int],
    *,
    now_us: int,
    grace_us: int,
    retention_us: int,
) -> str:
    if bundle.is_in_use:
        return describe_use(bundle)
    if bundle.digest in named:
        return f"named in {named[bundle.digest]}"
    newest = recorded.get((bundle.name, bundle.version))
    if newest is not None and now_us - newest <= retention_us:
        return f"answered {(now_us - newest) // DAY_US} days ago"
    if now_us - max(bundle.time_us, bundle.pushed_us) <= grace_us:
        return f"changed {(now_us - max(bundle.time_us, bundle.pushed_us)) // DAY_US} days ago"
    return ""
