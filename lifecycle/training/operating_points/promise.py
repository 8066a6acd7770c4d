"""What is promised of an operating point, in a few words for tables. Pure."""

from typing import Final

from serving.models.manifest import OperatingPoint, SamplingUnit

PLURALS: Final[dict[SamplingUnit, str]] = {
    "row": "rows",
    "entity": "entities",
    "group": "groups",
    "attack_type": "attack types",
}


def promise(point: OperatingPoint) -> str:
    """Confidence and what it comes from; `NO` if it was asked for and cannot be had, `-` if nobody asked."""
    if point.holds is None:
        return "NO" if point.shortfall else "-"
    held = point.holds
    return f"{held.confidence:.0%}, {held.units:,} {PLURALS[held.unit]}"


def promise_in_full(point: OperatingPoint) -> str:
    """A sentence: what holds, or why nothing does; empty if nobody asked."""
    held = point.holds
    if held is None:
        return point.shortfall
    share = "" if held.attack_share is None else f" at an attack share of {held.attack_share:.1%}"
    beside = "" if held.benign_units is None else f" and {held.benign_units:,} benign ones"
    return (
        f"{held.what} >= {held.bound:g}{share} with {held.confidence:.0%} confidence, from {held.units:,} attacked "
        f"{PLURALS[held.unit]}{beside} ({held.method})"
    )
